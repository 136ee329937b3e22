// Settings, the count of calls that are to fail, and the texts of errors.

#include "driver.hpp"

#include "../runtime/checker.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace driver {

namespace {

bool is(const char* key, const char* name) { return std::strcmp(key, name) == 0; }

/// Applies one setting; false if there is none of that name.
bool apply(Settings& settings, const char* key, const char* value) {
    if (is(key, "devices")) settings.devices = std::atoi(value);
    else if (is(key, "memory_mib")) settings.memory_bytes = static_cast<std::size_t>(std::atoll(value)) << 20;
    else if (is(key, "driver_version")) settings.driver_version = std::atoi(value);
    else if (is(key, "compute_capability")) settings.compute_capability = std::atoi(value);
    else if (is(key, "kernels")) settings.kernels = value;
    else if (is(key, "order")) settings.reverse_order = is(value, "reverse");
    else if (is(key, "sticky_errors")) settings.sticky_errors = is(value, "1");
    else if (is(key, "check")) emulator::checker::enable(is(value, "1"));
    else if (is(key, "fail")) {
        // FUNCTION:CALL:RESULT, or nothing.
        char function[64] = "";
        int call = 0, result = 0;
        if (std::sscanf(value, "%63[^:]:%d:%d", function, &call, &result) != 3) function[0] = '\0';
        settings.fail_function = function;
        settings.fail_call = call;
        settings.fail_result = static_cast<Result>(result);
    } else return false;
    return true;
}

Settings from_environment() {
    Settings settings;
    for (const char* key : {"devices", "memory_mib", "driver_version", "compute_capability", "kernels", "order",
                            "sticky_errors", "check", "fail"}) {
        std::string name = "CUDA_EMULATOR_";
        for (const char* letter = key; *letter != '\0'; ++letter) {
            name += *letter >= 'a' && *letter <= 'z' ? static_cast<char>(*letter - 'a' + 'A') : *letter;
        }
        if (const char* value = std::getenv(name.c_str())) apply(settings, key, value);
    }
    return settings;
}

thread_local std::string explanation;
thread_local Result explained = SUCCESS;

} // namespace

State& state() {
    // Never destroyed: other threads may still call while the process ends.
    static State* const state = [] {
        auto* made = new State;
        made->settings = from_environment();
        return made;
    }();
    return *state;
}

Context*& current_context() {
    thread_local Context* context = nullptr;
    return context;
}

Result explain(Result result, const std::string& text) {
    explained = result;
    explanation = text;
    return result;
}

Result enter(const char* function, bool needs_context) {
    Settings& settings = state().settings;
    if (!settings.fail_function.empty() && (settings.fail_function == "*" || settings.fail_function == function) &&
        --settings.fail_call == 0) {
        settings.fail_function.clear();
        return explain(settings.fail_result, std::string("the test made this call of ") + function + " fail");
    }
    if (!needs_context) return SUCCESS;
    if (!state().initialised) return NOT_INITIALIZED;
    if (current_context() == nullptr) return INVALID_CONTEXT;
    return state().sticky;
}

} // namespace driver

using namespace driver;

/// Sets one setting (see `Settings`); the new value holds for later calls. Fails on an unknown key.
DRIVER_FUNCTION cuda_emulator_set(const char* key, const char* value) {
    const std::lock_guard<std::recursive_mutex> lock(state().mutex);
    if (!apply(state().settings, key, value)) return INVALID_VALUE;
    state().sticky = SUCCESS;
    return SUCCESS;
}

DRIVER_FUNCTION cuGetErrorName(Result error, const char** name) {
    switch (error) {
    case SUCCESS: *name = "CUDA_SUCCESS"; break;
    case INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case NOT_INITIALIZED: *name = "CUDA_ERROR_NOT_INITIALIZED"; break;
    case NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; break;
    case INVALID_DEVICE: *name = "CUDA_ERROR_INVALID_DEVICE"; break;
    case INVALID_IMAGE: *name = "CUDA_ERROR_INVALID_IMAGE"; break;
    case INVALID_CONTEXT: *name = "CUDA_ERROR_INVALID_CONTEXT"; break;
    case NO_BINARY_FOR_GPU: *name = "CUDA_ERROR_NO_BINARY_FOR_GPU"; break;
    case INVALID_PTX: *name = "CUDA_ERROR_INVALID_PTX"; break;
    case UNSUPPORTED_PTX_VERSION: *name = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"; break;
    case INVALID_HANDLE: *name = "CUDA_ERROR_INVALID_HANDLE"; break;
    case NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
    case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
    case LAUNCH_OUT_OF_RESOURCES: *name = "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"; break;
    case MISALIGNED_ADDRESS: *name = "CUDA_ERROR_MISALIGNED_ADDRESS"; break;
    case LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    case NOT_SUPPORTED: *name = "CUDA_ERROR_NOT_SUPPORTED"; break;
    case CAPTURE_UNSUPPORTED: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
    case CAPTURE_INVALIDATED: *name = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"; break;
    case CAPTURE_IMPLICIT: *name = "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"; break;
    default: *name = "CUDA_ERROR_UNKNOWN"; break;
    }
    return SUCCESS;
}

/// The name, and what the emulator knows of this thread's last error.
DRIVER_FUNCTION cuGetErrorString(Result error, const char** text) {
    thread_local std::string kept;
    const char* name = nullptr;
    cuGetErrorName(error, &name);
    kept = name;
    if (error != SUCCESS && error == explained) kept += ": " + explanation;
    *text = kept.c_str();
    return SUCCESS;
}
