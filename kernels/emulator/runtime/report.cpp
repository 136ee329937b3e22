#include "report.hpp"

#include "scheduler.hpp"

#include <cstdint>
#include <cstdio>
#include <dlfcn.h>
#include <set>
#include <tuple>

namespace emulator {

namespace {

constexpr std::size_t MOST_PROBLEMS = 8;

std::string text_of_launch;
std::size_t count = 0;
std::set<std::tuple<Problem, const void*, std::string>> seen;

std::string triple(const uint3& index) {
    return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

/// The last part of a path.
std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// What `command` prints, without a newline at the end of each line.
std::string first_lines(const std::string& command) {
    FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) return {};
    std::string output;
    char buffer[512];
    while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) output += buffer;
    pclose(pipe);
    return output;
}

} // namespace

std::string source_location(const void* code) {
    Dl_info library;
    if (dladdr(code, &library) == 0 || library.dli_fname == nullptr) return "an unknown place";
    // The address is that after the call of the hook: one less is inside it.
    const std::uintptr_t offset =
        reinterpret_cast<std::uintptr_t>(code) - reinterpret_cast<std::uintptr_t>(library.dli_fbase) - 1;
    char command[4352];
    std::snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%zx 2>/dev/null", library.dli_fname,
                  static_cast<std::size_t>(offset));
    // One line for each function that was inlined, innermost first.
    const std::string lines = first_lines(command);
    std::string location;
    for (std::size_t begin = 0; begin < lines.size();) {
        std::size_t end = lines.find('\n', begin);
        if (end == std::string::npos) end = lines.size();
        std::string line = lines.substr(begin, end - begin);
        line = file_name(line.substr(0, line.find(" (")));
        if (line.find("??") == std::string::npos) location += (location.empty() ? "" : ", inlined at ") + line;
        begin = end + 1;
    }
    if (!location.empty()) return location;
    char fallback[64];
    std::snprintf(fallback, sizeof fallback, "+0x%zx of the kernels' library", static_cast<std::size_t>(offset));
    return fallback;
}

void report(Problem problem, const std::string& text, const void* code) {
    if (too_many_problems() || !seen.emplace(problem, code, code == nullptr ? text : std::string()).second) return;
    ++count;
    std::string line = "kernel `" + std::string(current_launch().kernel->name) + "`, block " + triple(current_block());
    if (code != nullptr) line += ", thread " + triple(current_thread().index) + ", " + source_location(code);
    line += ": " + text;
    std::fprintf(stderr, "cuda-emulator: %s\n", line.c_str());
    if (!text_of_launch.empty()) text_of_launch += '\n';
    text_of_launch += line;
}

void require_aligned(const void* address, std::size_t alignment, const void* code) {
    const std::size_t past = reinterpret_cast<std::uintptr_t>(address) % alignment;
    if (past == 0) return;
    report(Problem::Misaligned,
           "misaligned: the address is " + std::to_string(past) + " B past a multiple of " + std::to_string(alignment),
           code);
    stop_launch();
}

void clear_problems() {
    text_of_launch.clear();
    seen.clear();
    count = 0;
}

std::size_t problem_count() { return count; }
bool has_problem(Problem problem) {
    for (const auto& entry : seen) {
        if (std::get<Problem>(entry) == problem) return true;
    }
    return false;
}
const std::string& problem_text() { return text_of_launch; }
bool too_many_problems() { return count >= MOST_PROBLEMS; }

} // namespace emulator
