#include <cstdint>
#include <initializer_list>
#include <vector>

#include "arrays.hpp"
#include "frames.hpp"

namespace nb = nanobind;
using mmtp::Doubles, mmtp::Frames;
using mmtp::require;

namespace mmtp {
namespace {

void append(std::vector<double>& to, const Doubles& array, std::size_t size) {
    require(array.size() == size, "arrays of a frame differ in length");
    to.insert(to.end(), array.data(), array.data() + size);
}

void append_types(std::vector<std::int32_t>& to, const nb::dict& type_of, const nb::tuple& symbols) {
    for (nb::handle symbol : symbols) {
        PyObject* type = PyDict_GetItem(type_of.ptr(), symbol.ptr());
        require(type != nullptr, "an unknown species");
        to.push_back(std::int32_t(PyLong_AsLong(type)));
    }
}

void append_moments(std::vector<double>& to, nb::handle magmoms, std::size_t atoms) {
    require(!magmoms.is_none(), "no moments");
    const auto vectors = nb::cast<Doubles>(magmoms);
    require(vectors.size() == 3 * atoms, "arrays of a frame differ in length");
    for (const double* m = vectors.data(); m != vectors.data() + 3 * atoms; m += 3) {
        require(m[0] == 0.0 && m[1] == 0.0, "non-collinear moments");
        to.push_back(m[2]);
    }
}

// An array that lasts as long as its frames do: properties keep those alive.
template <typename T>
nb::ndarray<nb::numpy, const T> view(const std::vector<T>& values, std::initializer_list<std::size_t> shape) {
    return {values.data(), shape};
}

}  // namespace

Frames::Frames(const nb::dict& type_of, const nb::list& species, const nb::list& positions, const nb::list& cells, const nb::object& magmoms) {
    const std::size_t n = species.size();
    require(positions.size() == n && cells.size() == n, "lists differ in length");
    for (std::size_t k = 0; k < n; ++k) {
        const auto symbols = nb::cast<nb::tuple>(species[k]);
        count.push_back(std::int64_t(symbols.size()));
        append_types(type, type_of, symbols);
        append(position, nb::cast<Doubles>(positions[k]), 3 * symbols.size());
        append(cell, nb::cast<Doubles>(cells[k]), 9);
        if (!magmoms.is_none()) append_moments(moment, magmoms[k], symbols.size());
    }
    moment.resize(type.size(), 0.0);
}

}  // namespace mmtp

void bind_frames(nb::module_& m) {
    using mmtp::view;
    nb::class_<Frames>(m, "Frames")
        .def(nb::init<const nb::dict&, const nb::list&, const nb::list&, const nb::list&, const nb::object&>(), nb::arg("type_of"),
             nb::arg("species"), nb::arg("positions"), nb::arg("cells"), nb::arg("magmoms").none())
        .def_prop_ro("counts", [](const Frames& f) { return view(f.count, {f.count.size()}); })
        .def_prop_ro("type", [](const Frames& f) { return view(f.type, {f.type.size()}); })
        .def_prop_ro("moment", [](const Frames& f) { return view(f.moment, {f.moment.size()}); })
        .def_prop_ro("positions", [](const Frames& f) { return view(f.position, {f.type.size(), 3}); })
        .def_prop_ro("cells", [](const Frames& f) { return view(f.cell, {f.count.size(), 3, 3}); });
}
