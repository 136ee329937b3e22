// A module's image, PTX or cubin, as far as a driver without a GPU can hold it to account.
#pragma once

#include "driver.hpp"

namespace driver {

class Image {
public:
    /// Reads the image at `data`. Fails as a driver does if it is for another GPU or a newer driver.
    static Result parse(const void* data, const Settings& settings, Image& image);

    /// Whether the image has this entry point.
    bool has_kernel(const std::string& name) const;

private:
    bool is_ptx_ = false;
    std::string bytes_;
};

} // namespace driver
