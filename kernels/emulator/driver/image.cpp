#include "image.hpp"

#include <cstdio>
#include <cstring>
#include <elf.h>

namespace driver {

namespace {

/// The newest PTX that a driver takes: 8.1 for CUDA 12.1, 7.8 for CUDA 11.8.
int newest_ptx(int driver_version) {
    const int major = driver_version / 1000, minor = driver_version % 1000 / 10;
    return major >= 12 ? 80 + (major - 12) * 10 + minor : 70 + minor;
}

} // namespace

Result Image::parse(const void* data, const Settings& settings, Image& image) {
    const char* text = static_cast<const char*>(data);
    if (std::memcmp(text, ELFMAG, SELFMAG) == 0) {
        Elf64_Ehdr header;
        std::memcpy(&header, data, sizeof header);
        // A cubin's architecture is in the lowest byte of the flags. It runs on its own and later minor versions.
        const int architecture = static_cast<int>(header.e_flags & 0xffu);
        if (architecture / 10 != settings.compute_capability / 10 || architecture > settings.compute_capability) {
            return NO_BINARY_FOR_GPU;
        }
        image.is_ptx_ = false;
        image.bytes_.assign(text, header.e_shoff + std::size_t{header.e_shnum} * header.e_shentsize);
        return SUCCESS;
    }
    const char* version = std::strstr(text, ".version ");
    const char* target = std::strstr(text, ".target sm_");
    int major = 0, minor = 0, architecture = 0;
    if (version == nullptr || target == nullptr) return INVALID_IMAGE;
    if (std::sscanf(version, ".version %d.%d", &major, &minor) != 2) return INVALID_PTX;
    if (std::sscanf(target, ".target sm_%d", &architecture) != 1) return INVALID_PTX;
    if (major * 10 + minor > newest_ptx(settings.driver_version)) return UNSUPPORTED_PTX_VERSION;
    if (architecture > settings.compute_capability) return NO_BINARY_FOR_GPU;
    image.is_ptx_ = true;
    image.bytes_ = text;
    return SUCCESS;
}

bool Image::has_kernel(const std::string& name) const {
    if (is_ptx_) return bytes_.find(".entry " + name + "(") != std::string::npos;
    // The code of a kernel is a section of its own; names end with a zero.
    return bytes_.find(".text." + name + '\0') != std::string::npos;
}

} // namespace driver
