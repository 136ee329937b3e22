// A library of kernels built for the CPU: its entry points, and where its shared variables and constants are.
#pragma once

#include "api.hpp"

#include <string>

namespace emulator {

class Library {
public:
    /// Loads the library at `path`, or finds it if it is loaded. Null, with `error` set, if it cannot be.
    static Library* open(const std::string& path, std::string& error);

    /// The kernel `name`, or null.
    const Kernel* kernel(const std::string& name) const;

private:
    explicit Library(void* handle) : handle_(handle) {}
    void* handle_;
};

} // namespace emulator
