// Modules, functions and launches.

#include "driver.hpp"
#include "image.hpp"

#include "../runtime/library.hpp"
#include "../runtime/report.hpp"
#include "../runtime/scheduler.hpp"

#include <cstring>

namespace driver {

namespace {

constexpr int SHARED_WITHOUT_OPT_IN = 48 * 1024;

struct Module {
    Image image;
    emulator::Library* library = nullptr;
};

struct Function {
    const emulator::Kernel* kernel = nullptr;
    int most_dynamic_shared = SHARED_WITHOUT_OPT_IN;
};

/// Runs a kernel to its end on the CPU.
Result run(const emulator::Kernel& kernel, dim3 grid, dim3 block, std::size_t shared, std::vector<char>& arguments) {
    emulator::Launch launch;
    launch.kernel = &kernel;
    launch.grid = grid;
    launch.block = block;
    launch.dynamic_shared_bytes = shared;
    std::vector<void*> parameters;
    for (std::size_t index = 0, offset = 0; index < kernel.parameter_count; ++index) {
        parameters.push_back(arguments.data() + offset);
        offset += (kernel.parameter_sizes[index] + 15) / 16 * 16;
    }
    launch.parameters = parameters.data();
    launch.parameters_begin = arguments.data();
    launch.parameters_bytes = arguments.size();
    emulator::clear_problems();
    emulator::run(launch, state().settings.reverse_order ? emulator::Order::Reverse : emulator::Order::Forward);
    if (emulator::problem_count() == 0) return SUCCESS;
    const Result result = emulator::has_problem(emulator::Problem::OutOfBounds) ? ILLEGAL_ADDRESS
                          : emulator::has_problem(emulator::Problem::Misaligned) ? MISALIGNED_ADDRESS
                                                                                 : LAUNCH_FAILED;
    if (state().settings.sticky_errors) state().sticky = result;
    return explain(result, emulator::problem_text());
}

} // namespace

} // namespace driver

using namespace driver;

DRIVER_FUNCTION cuDeviceGetAttribute(int* value, int attribute, int device);

DRIVER_FUNCTION cuModuleLoadData(Module** module, const void* data) {
    ENTER();
    if (const Result refused = refuse_in_capture(__func__)) return refused;
    const Settings& settings = state().settings;
    auto made = std::make_unique<Module>();
    if (const Result result = Image::parse(data, settings, made->image)) return result;
    if (settings.kernels.empty()) {
        return explain(NOT_FOUND, "CUDA_EMULATOR_KERNELS names no library of kernels built for the CPU");
    }
    std::string error;
    made->library = emulator::Library::open(settings.kernels, error);
    if (made->library == nullptr) {
        return explain(NOT_FOUND, error);
    }
    *module = made.release();
    return SUCCESS;
}

DRIVER_FUNCTION cuModuleUnload(Module* module) {
    ENTER_WITHOUT_CONTEXT();
    delete module;
    return SUCCESS;
}

DRIVER_FUNCTION cuModuleGetFunction(Function** function, Module* module, const char* name) {
    ENTER();
    const emulator::Kernel* kernel = module->library->kernel(name);
    if (kernel == nullptr) {
        return explain(NOT_FOUND, std::string("no kernel `") + name + "` is built for the CPU");
    }
    if (!module->image.has_kernel(name)) {
        return explain(NOT_FOUND, std::string("the PTX or cubin has no kernel `") + name + "`: run kernels/cuda/compile.py");
    }
    // Functions live as long as their module on a GPU; here, as long as the process.
    auto* made = new Function;
    made->kernel = kernel;
    *function = made;
    return SUCCESS;
}

DRIVER_FUNCTION cuFuncSetAttribute(Function* function, int attribute, int value) {
    ENTER();
    constexpr int MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;
    if (attribute != MAX_DYNAMIC_SHARED_SIZE_BYTES) return SUCCESS;
    int most = 0;
    constexpr int MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97;
    cuDeviceGetAttribute(&most, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0);
    if (value < 0 || value > most) return INVALID_VALUE;
    function->most_dynamic_shared = value;
    return SUCCESS;
}

DRIVER_FUNCTION cuFuncGetAttribute(int* value, int attribute, Function* function) {
    ENTER();
    switch (attribute) {
    case 0: *value = static_cast<int>(function->kernel->max_threads_per_block); break;
    case 4: *value = 32; break; // registers: not known here
    case 5: *value = 80; break; // architecture of the PTX
    case 6: *value = state().settings.compute_capability; break;
    case 8: *value = function->most_dynamic_shared; break;
    default: *value = 0; break;
    }
    return SUCCESS;
}

DRIVER_FUNCTION cuFuncSetCacheConfig(Function*, int) {
    ENTER();
    return SUCCESS;
}

DRIVER_FUNCTION cuLaunchKernel(Function* function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                               unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared,
                               void* handle, void** parameters, void** extra) {
    ENTER();
    const emulator::Kernel& kernel = *function->kernel;
    const std::uint64_t threads = std::uint64_t{block_x} * block_y * block_z;
    if (grid_x == 0 || grid_y == 0 || grid_z == 0 || threads == 0 || extra != nullptr) return INVALID_VALUE;
    if (grid_x > 0x7fffffffu || grid_y > 65535 || grid_z > 65535 || block_z > 64 || threads > 1024) return INVALID_VALUE;
    if (threads > kernel.max_threads_per_block) {
        return explain(LAUNCH_OUT_OF_RESOURCES, std::string("kernel `") + kernel.name + "`: " + std::to_string(threads) +
                " threads are more than its __launch_bounds__ of " + std::to_string(kernel.max_threads_per_block));
    }
    if (shared > static_cast<unsigned int>(function->most_dynamic_shared)) {
        return explain(INVALID_VALUE, std::string("kernel `") + kernel.name + "`: " + std::to_string(shared) +
                " B of dynamic shared memory are more than the " + std::to_string(function->most_dynamic_shared) +
                " B it may have");
    }
    Stream* stream = find_stream(handle);
    if (stream == nullptr) return INVALID_HANDLE;
    // A launch keeps a copy of its arguments.
    std::vector<char> arguments;
    for (std::size_t index = 0; index < kernel.parameter_count; ++index) {
        const std::size_t offset = arguments.size(), bytes = kernel.parameter_sizes[index];
        arguments.resize(offset + (bytes + 15) / 16 * 16);
        std::memcpy(arguments.data() + offset, parameters[index], bytes);
    }
    return submit(*stream, [=]() mutable {
        return run(kernel, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, arguments);
    });
}
