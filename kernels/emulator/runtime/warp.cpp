// Warp collectives: shuffles, ballots, and the tensor-core instructions with the fragment layouts of the PTX ISA.
//
// Every lane puts what it brings into `Warp::in`; the last to come computes for the whole warp into `Warp::out`.

#include "checker.hpp"
#include "report.hpp"
#include "scheduler.hpp"

namespace emulator {

namespace {

void combine_sync(Warp& warp) { ++warp.epoch; }

void combine_shuffle(Warp& warp) {
    for (unsigned int lane = 0; lane < 32; ++lane) {
        const unsigned int source = warp.in[lane][2] & 31u;
        if ((warp.alive >> lane & 1u) == 0) continue;
        // On the GPU the value of a lane that is not there is undefined.
        if ((warp.alive >> source & 1u) == 0) {
            report(Problem::Divergence,
                   warp.site.text() + ": lane " + std::to_string(lane) + " reads from lane " + std::to_string(source) +
                       ", which has returned or does not exist",
                   nullptr);
            stop_launch();
        }
        warp.out[lane][0] = warp.in[source][0];
        warp.out[lane][1] = warp.in[source][1];
    }
}

void combine_ballot(Warp& warp) {
    std::uint32_t bits = 0;
    for (unsigned int lane = 0; lane < 32; ++lane) {
        if ((warp.alive >> lane & 1u) != 0 && warp.in[lane][0] != 0) bits |= 1u << lane;
    }
    for (auto& out : warp.out) out[0] = bits;
}

/// All lanes must be there for an instruction that spreads a matrix over the warp.
void require_whole_warp(const Warp& warp) {
    if (warp.alive != ~0u) {
        report(Problem::Divergence, warp.site.text() + " in a warp with lanes missing", nullptr);
        stop_launch();
    }
}

template <bool TRANSPOSED>
void combine_ldmatrix(Warp& warp) {
    require_whole_warp(warp);
    for (unsigned int matrix = 0; matrix < 4; ++matrix) {
        std::uint16_t rows[8][8] = {};
        for (unsigned int row = 0; row < 8; ++row) {
            const std::uint16_t* address;
            std::memcpy(&address, warp.in[matrix * 8 + row], sizeof address);
            if (address != nullptr) std::memcpy(rows[row], address, 16);
        }
        for (unsigned int lane = 0; lane < 32; ++lane) {
            const unsigned int group = lane / 4, pair = lane % 4 * 2;
            const std::uint16_t low = TRANSPOSED ? rows[pair][group] : rows[group][pair];
            const std::uint16_t high = TRANSPOSED ? rows[pair + 1][group] : rows[group][pair + 1];
            warp.out[lane][matrix] = static_cast<std::uint32_t>(high) << 16 | low;
        }
    }
}

float as_float(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }

/// `out += a b`, d being in lanes as for every m16n8 instruction.
template <int DEPTH>
void multiply(Warp& warp, const float (&a)[16][DEPTH], const float (&b)[DEPTH][8]) {
    float sum[16][8] = {};
    for (int row = 0; row < 16; ++row) {
        for (int k = 0; k < DEPTH; ++k) {
            for (int column = 0; column < 8; ++column) sum[row][column] += a[row][k] * b[k][column];
        }
    }
    for (unsigned int lane = 0; lane < 32; ++lane) {
        const unsigned int group = lane / 4, pair = lane % 4 * 2;
        const float values[4] = {sum[group][pair], sum[group][pair + 1], sum[group + 8][pair], sum[group + 8][pair + 1]};
        std::memcpy(warp.out[lane], values, sizeof values);
    }
}

void combine_mma_tf32(Warp& warp) {
    require_whole_warp(warp);
    float a[16][8], b[8][8];
    // The hardware reads the upper 19 bits of each operand.
    const auto value = [&](unsigned int lane, int part) { return as_float(warp.in[lane][part] & 0xffffe000u); };
    for (unsigned int lane = 0; lane < 32; ++lane) {
        const unsigned int group = lane / 4, member = lane % 4;
        a[group][member] = value(lane, 0);
        a[group + 8][member] = value(lane, 1);
        a[group][member + 4] = value(lane, 2);
        a[group + 8][member + 4] = value(lane, 3);
        b[member][group] = value(lane, 4);
        b[member + 4][group] = value(lane, 5);
    }
    multiply<8>(warp, a, b);
}

void combine_mma_bf16(Warp& warp) {
    require_whole_warp(warp);
    float a[16][16], b[16][8];
    const auto low = [&](unsigned int lane, int part) { return as_float(warp.in[lane][part] << 16); };
    const auto high = [&](unsigned int lane, int part) { return as_float(warp.in[lane][part] & 0xffff0000u); };
    for (unsigned int lane = 0; lane < 32; ++lane) {
        const unsigned int group = lane / 4, k = lane % 4 * 2;
        for (unsigned int half = 0; half < 2; ++half) {
            a[group][k + 8 * half] = low(lane, static_cast<int>(2 * half));
            a[group][k + 8 * half + 1] = high(lane, static_cast<int>(2 * half));
            a[group + 8][k + 8 * half] = low(lane, static_cast<int>(2 * half + 1));
            a[group + 8][k + 8 * half + 1] = high(lane, static_cast<int>(2 * half + 1));
            b[k + 8 * half][group] = low(lane, static_cast<int>(4 + half));
            b[k + 8 * half + 1][group] = high(lane, static_cast<int>(4 + half));
        }
    }
    multiply<16>(warp, a, b);
}

void mma(float* d, const std::uint32_t* a, const std::uint32_t* b, Site site, void (*combine)(Warp&)) {
    Warp& warp = current_warp();
    const unsigned int lane = current_thread().lane;
    std::memcpy(warp.in[lane], a, 4 * sizeof *a);
    std::memcpy(warp.in[lane] + 4, b, 2 * sizeof *b);
    collective(~0u, site, combine);
    for (int i = 0; i < 4; ++i) d[i] += as_float(warp.out[lane][i]);
}

} // namespace

void sync_warp(unsigned int mask, const char* file, int line) {
    collective(mask, {file, line, "__syncwarp"}, combine_sync);
}

std::uint64_t shuffle(unsigned int mask, std::uint64_t value, unsigned int source, const char* file, int line) {
    Warp& warp = current_warp();
    const unsigned int lane = current_thread().lane;
    std::memcpy(warp.in[lane], &value, sizeof value);
    warp.in[lane][2] = source;
    collective(mask, {file, line, "a shuffle"}, combine_shuffle);
    std::memcpy(&value, warp.out[lane], sizeof value);
    return value;
}

unsigned int ballot(unsigned int mask, bool predicate, const char* file, int line) {
    Warp& warp = current_warp();
    const unsigned int lane = current_thread().lane;
    warp.in[lane][0] = predicate;
    collective(mask, {file, line, "a vote"}, combine_ballot);
    return warp.out[lane][0];
}

void ldmatrix(std::uint32_t* fragments, int count, bool transposed, const void* row, const char* file, int line) {
    Warp& warp = current_warp();
    const unsigned int lane = current_thread().lane;
    // Lanes beyond the last matrix give no row.
    if (lane >= static_cast<unsigned int>(count) * 8) row = nullptr;
    if (row != nullptr) {
        require_aligned(row, 16, __builtin_return_address(0));
        checker::read(row, 16, __builtin_return_address(0));
    }
    std::memcpy(warp.in[lane], &row, sizeof row);
    collective(~0u, {file, line, "ldmatrix"}, transposed ? combine_ldmatrix<true> : combine_ldmatrix<false>);
    std::memcpy(fragments, warp.out[lane], static_cast<std::size_t>(count) * sizeof *fragments);
}

void mma_tf32(float* d, const std::uint32_t* a, const std::uint32_t* b, const char* file, int line) {
    mma(d, a, b, {file, line, "mma_m16n8k8_tf32"}, combine_mma_tf32);
}

void mma_bf16(float* d, const std::uint32_t* a, const std::uint32_t* b, const char* file, int line) {
    mma(d, a, b, {file, line, "mma_m16n8k16_bf16"}, combine_mma_bf16);
}

} // namespace emulator
