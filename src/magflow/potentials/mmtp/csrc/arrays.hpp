// NumPy arrays in and out of the bindings.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "grown.hpp"
#include "spec.hpp"

namespace mmtp {

template <typename T>
using In = nanobind::ndarray<const T, nanobind::numpy, nanobind::c_contig, nanobind::device::cpu>;
using Doubles = In<double>;
using Ints = In<std::int32_t>;
using Longs = In<std::int64_t>;

template <typename T>
nanobind::ndarray<nanobind::numpy, T> owned(std::vector<T>&& values, std::vector<std::size_t> shape) {
    auto* kept = new std::vector<T>(std::move(values));
    nanobind::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nanobind::ndarray<nanobind::numpy, T>(kept->data(), shape.size(), shape.data(), owner);
}

template <typename T>
nanobind::ndarray<nanobind::numpy, T> owned(Grown<T>&& values, std::vector<std::size_t> shape) {
    auto* kept = new Grown<T>(std::move(values));
    nanobind::capsule owner(kept, [](void* p) noexcept { delete static_cast<Grown<T>*>(p); });
    return nanobind::ndarray<nanobind::numpy, T>(kept->data(), shape.size(), shape.data(), owner);
}

template <typename T>
std::vector<T> values(const In<T>& a) {
    return std::vector<T>(a.data(), a.data() + a.size());
}

}  // namespace mmtp
