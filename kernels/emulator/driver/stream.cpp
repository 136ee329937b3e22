// Streams, capture, graphs and events.

#include "driver.hpp"

#include <chrono>
#include <utility>

namespace driver {

namespace {

/// A list of work: what a capture recorded. `CUgraph` and `CUgraphExec` both are one.
struct Graph {
    std::vector<Work> work;
};

struct Event {
    std::chrono::steady_clock::time_point time;
    bool recorded = false;
};

/// Breaks every capture that `minds`; says whether there was one.
template <class Predicate>
bool break_captures(Predicate minds) {
    bool any = false;
    for (auto& [handle, stream] : state().streams) {
        if (!stream->capturing || !minds(*stream)) continue;
        stream->capture_broken = true;
        any = true;
    }
    return any;
}

} // namespace

Stream* find_stream(void* handle) {
    // The default streams of old and of new style: CU_STREAM_LEGACY and CU_STREAM_PER_THREAD are 1 and 2.
    if (reinterpret_cast<std::uintptr_t>(handle) <= 2) {
        static Stream default_stream;
        return &default_stream;
    }
    const auto found = state().streams.find(handle);
    return found == state().streams.end() ? nullptr : found->second.get();
}

Result submit(Stream& stream, Work work) {
    if (stream.capturing) {
        if (stream.capture_broken) return CAPTURE_INVALIDATED;
        stream.recorded.push_back(std::move(work));
        return SUCCESS;
    }
    // The default stream waits for all others, one of which is being captured.
    if (stream.context == nullptr) {
        if (const Result refused = refuse_implicit_capture("work on the default stream")) return refused;
    }
    return work();
}

Result refuse_in_capture(const char* function) {
    const bool broken = break_captures([](const Stream& stream) {
        return stream.capture_mode == CaptureMode::Global ||
               (stream.capture_mode == CaptureMode::ThreadLocal && stream.capture_thread == std::this_thread::get_id());
    });
    return broken ? explain(CAPTURE_UNSUPPORTED, std::string(function) + " during a capture") : SUCCESS;
}

Result refuse_implicit_capture(const char* function) {
    const bool broken = break_captures(
        [](const Stream& stream) { return stream.context == current_context() && !stream.non_blocking; });
    return broken ? explain(CAPTURE_IMPLICIT, std::string(function) + " would wait for a capture") : SUCCESS;
}

} // namespace driver

using namespace driver;

DRIVER_FUNCTION cuStreamCreate(void** handle, unsigned int flags) {
    ENTER();
    constexpr unsigned int NON_BLOCKING = 1;
    auto stream = std::make_unique<Stream>();
    stream->non_blocking = (flags & NON_BLOCKING) != 0;
    stream->context = current_context();
    *handle = stream.get();
    state().streams[*handle] = std::move(stream);
    return SUCCESS;
}

DRIVER_FUNCTION cuStreamCreateWithPriority(void** handle, unsigned int flags, int) {
    return cuStreamCreate(handle, flags);
}

DRIVER_FUNCTION cuStreamDestroy_v2(void* handle) {
    ENTER_WITHOUT_CONTEXT();
    return state().streams.erase(handle) == 1 ? SUCCESS : INVALID_HANDLE;
}

DRIVER_FUNCTION cuStreamSynchronize(void* handle) {
    ENTER();
    Stream* stream = find_stream(handle);
    if (stream == nullptr) return INVALID_HANDLE;
    if (!stream->capturing) return SUCCESS;
    stream->capture_broken = true;
    return explain(CAPTURE_UNSUPPORTED, "cuStreamSynchronize of a stream that is being captured");
}

DRIVER_FUNCTION cuStreamQuery(void* handle) { return cuStreamSynchronize(handle); }

DRIVER_FUNCTION cuStreamWaitEvent(void* handle, void*, unsigned int) {
    ENTER();
    return find_stream(handle) == nullptr ? INVALID_HANDLE : SUCCESS;
}

DRIVER_FUNCTION cuStreamBeginCapture_v2(void* handle, CaptureMode mode) {
    ENTER();
    Stream* stream = find_stream(handle);
    if (stream == nullptr) return INVALID_HANDLE;
    if (stream->context == nullptr || stream->capturing) return CAPTURE_UNSUPPORTED;
    stream->capturing = true;
    stream->capture_broken = false;
    stream->capture_mode = mode;
    stream->capture_thread = std::this_thread::get_id();
    stream->recorded.clear();
    return SUCCESS;
}

DRIVER_FUNCTION cuStreamIsCapturing(void* handle, int* status) {
    ENTER();
    Stream* stream = find_stream(handle);
    if (stream == nullptr) return INVALID_HANDLE;
    *status = !stream->capturing ? 0 : stream->capture_broken ? 2 : 1;
    return SUCCESS;
}

DRIVER_FUNCTION cuStreamEndCapture(void* handle, Graph** graph) {
    ENTER();
    Stream* stream = find_stream(handle);
    *graph = nullptr;
    if (stream == nullptr) return INVALID_HANDLE;
    if (!stream->capturing) return INVALID_VALUE;
    stream->capturing = false;
    if (stream->capture_broken) return CAPTURE_INVALIDATED;
    *graph = new Graph{std::exchange(stream->recorded, {})};
    return SUCCESS;
}

DRIVER_FUNCTION cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, unsigned long long) {
    ENTER();
    *executable = new Graph(*graph);
    return SUCCESS;
}

DRIVER_FUNCTION cuGraphUpload(Graph*, void*) {
    ENTER();
    return SUCCESS;
}

DRIVER_FUNCTION cuGraphLaunch(Graph* executable, void* handle) {
    ENTER();
    Stream* stream = find_stream(handle);
    if (stream == nullptr) return INVALID_HANDLE;
    return submit(*stream, [executable] {
        for (const Work& work : executable->work) {
            if (const Result result = work()) return result;
        }
        return SUCCESS;
    });
}

DRIVER_FUNCTION cuGraphDestroy(Graph* graph) {
    ENTER_WITHOUT_CONTEXT();
    delete graph;
    return SUCCESS;
}

DRIVER_FUNCTION cuGraphExecDestroy(Graph* executable) {
    ENTER_WITHOUT_CONTEXT();
    delete executable;
    return SUCCESS;
}

DRIVER_FUNCTION cuEventCreate(Event** event, unsigned int) {
    ENTER();
    *event = new Event;
    return SUCCESS;
}

DRIVER_FUNCTION cuEventDestroy_v2(Event* event) {
    ENTER_WITHOUT_CONTEXT();
    delete event;
    return SUCCESS;
}

DRIVER_FUNCTION cuEventRecord(Event* event, void* handle) {
    ENTER();
    Stream* stream = find_stream(handle);
    if (stream == nullptr) return INVALID_HANDLE;
    return submit(*stream, [event] {
        event->time = std::chrono::steady_clock::now();
        event->recorded = true;
        return SUCCESS;
    });
}

DRIVER_FUNCTION cuEventSynchronize(Event*) {
    ENTER();
    return refuse_in_capture(__func__);
}

DRIVER_FUNCTION cuEventQuery(Event*) {
    ENTER();
    return SUCCESS;
}

DRIVER_FUNCTION cuEventElapsedTime(float* milliseconds, Event* begin, Event* end) {
    ENTER();
    if (!begin->recorded || !end->recorded) return INVALID_HANDLE;
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
    return SUCCESS;
}
