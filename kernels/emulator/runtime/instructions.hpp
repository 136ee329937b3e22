// CPU twins of the instructions that `device.cuh` writes in PTX. Included by `device.cuh`, which documents them.
#pragma once

#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(emulator::dynamic_shared())

inline bf16 to_bf16(float value) {
    const u32 bits = __float_as_uint(value);
    if (value != value) return bf16{0x7fff};
    return bf16{static_cast<u16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

inline u32 pack_bf16(float low, float high) {
    return static_cast<u32>(to_bf16(high).bits) << 16 | static_cast<u32>(to_bf16(low).bits);
}

inline u32 to_tf32(float value) {
    const u32 bits = __float_as_uint(value);
    if ((bits & 0x7f800000u) == 0x7f800000u) return value != value ? 0x7fffffffu : bits;
    return (bits + 0x1000u) & 0xffffe000u;
}

inline void cp_async_4(void* shared, const void* global, bool valid = true) {
    emulator::cp_async(shared, global, 4, valid);
}

inline void cp_async_8(void* shared, const void* global, bool valid = true) {
    emulator::cp_async(shared, global, 8, valid);
}

inline void cp_async_16(void* shared, const void* global, bool valid = true) {
    emulator::cp_async(shared, global, 16, valid);
}

inline void cp_async_commit() { emulator::cp_async_commit(); }

template <int PENDING>
void cp_async_wait() {
    emulator::cp_async_wait(PENDING);
}

inline void ldmatrix_x1(u32& fragment, const void* row, const char* file = __builtin_FILE(),
                        int line = __builtin_LINE()) {
    emulator::ldmatrix(&fragment, 1, false, row, file, line);
}

inline void ldmatrix_x2(u32 (&fragments)[2], const void* row, const char* file = __builtin_FILE(),
                        int line = __builtin_LINE()) {
    emulator::ldmatrix(fragments, 2, false, row, file, line);
}

inline void ldmatrix_x4(u32 (&fragments)[4], const void* row, const char* file = __builtin_FILE(),
                        int line = __builtin_LINE()) {
    emulator::ldmatrix(fragments, 4, false, row, file, line);
}

inline void ldmatrix_x2_trans(u32 (&fragments)[2], const void* row, const char* file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
    emulator::ldmatrix(fragments, 2, true, row, file, line);
}

inline void ldmatrix_x4_trans(u32 (&fragments)[4], const void* row, const char* file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
    emulator::ldmatrix(fragments, 4, true, row, file, line);
}

inline void mma_m16n8k8_tf32(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], const char* file = __builtin_FILE(),
                             int line = __builtin_LINE()) {
    emulator::mma_tf32(d, a, b, file, line);
}

inline void mma_m16n8k16_bf16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], const char* file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
    emulator::mma_bf16(d, a, b, file, line);
}
