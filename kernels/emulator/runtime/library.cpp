#include "library.hpp"

#include "checker.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <fstream>
#include <iterator>
#include <link.h>
#include <map>
#include <memory>
#include <vector>

namespace emulator {

namespace {

template <class T>
T at(const std::vector<char>& file, std::size_t offset) {
    T value{};
    if (offset + sizeof value <= file.size()) std::memcpy(&value, file.data() + offset, sizeof value);
    return value;
}

/// The name of a variable as the source has it: `tile` for `tile.0` and for `_ZZ...E4tile`, a static of a function.
std::string source_name(const std::string& symbol) {
    if (symbol.rfind("_ZZ", 0) != 0) return symbol.substr(0, symbol.find('.'));
    std::string name = symbol.substr(0, symbol.find('.'));
    for (std::size_t end = name.rfind('E'); end != std::string::npos && end > 0; end = name.rfind('E', end - 1)) {
        std::size_t digits = end + 1, length = 0;
        for (; digits < name.size() && name[digits] >= '0' && name[digits] <= '9'; ++digits) {
            length = length * 10 + static_cast<std::size_t>(name[digits] - '0');
        }
        if (length > 0 && digits + length <= name.size()) return name.substr(digits, length);
    }
    return symbol;
}

/// Tells the checker of every variable that the symbol table of the file has in writable memory. A kernel's file has
/// no such variables but shared ones.
void add_shared_variables(const std::string& path, char* base) {
    std::ifstream stream(path, std::ios::binary);
    const std::vector<char> file((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    const auto header = at<ElfW(Ehdr)>(file, 0);
    const auto section = [&](std::size_t index) {
        return at<ElfW(Shdr)>(file, header.e_shoff + index * header.e_shentsize);
    };
    for (std::size_t index = 0; index < header.e_shnum; ++index) {
        const auto table = section(index);
        if (table.sh_type != SHT_SYMTAB) continue;
        const auto names = section(table.sh_link);
        for (std::size_t offset = 0; offset < table.sh_size; offset += sizeof(ElfW(Sym))) {
            const auto symbol = at<ElfW(Sym)>(file, table.sh_offset + offset);
            if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT || symbol.st_size == 0) continue;
            if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx >= header.e_shnum) continue;
            const auto home = section(symbol.st_shndx);
            if ((home.sh_flags & SHF_WRITE) == 0 || (home.sh_type != SHT_NOBITS && home.sh_type != SHT_PROGBITS)) continue;
            const std::size_t name_offset = names.sh_offset + symbol.st_name;
            if (name_offset >= file.size()) continue;
            const std::string name(file.data() + name_offset, strnlen(file.data() + name_offset, file.size() - name_offset));
            if (name.find("cuda_emulator_") != std::string::npos) continue;
            checker::add_shared(base + symbol.st_value, symbol.st_size, source_name(name));
        }
    }
}

int add_constant_segments(dl_phdr_info* info, std::size_t, void* base) {
    if (info->dlpi_addr != reinterpret_cast<ElfW(Addr)>(base)) return 0;
    for (int index = 0; index < info->dlpi_phnum; ++index) {
        const auto& segment = info->dlpi_phdr[index];
        if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
        checker::add_constants(static_cast<char*>(base) + segment.p_vaddr, segment.p_memsz);
    }
    return 1;
}

} // namespace

Library* Library::open(const std::string& path, std::string& error) {
    static std::map<std::string, std::unique_ptr<Library>> libraries;
    auto& library = libraries[path];
    if (library != nullptr) return library.get();
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
        error = dlerror();
        return nullptr;
    }
    link_map* map = nullptr;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0) {
        char* base = reinterpret_cast<char*>(map->l_addr);
        add_shared_variables(path, base);
        dl_iterate_phdr(add_constant_segments, base);
    }
    library.reset(new Library(handle));
    return library.get();
}

const Kernel* Library::kernel(const std::string& name) const {
    return static_cast<const Kernel*>(dlsym(handle_, ("cuda_emulator_kernel_" + name).c_str()));
}

} // namespace emulator
