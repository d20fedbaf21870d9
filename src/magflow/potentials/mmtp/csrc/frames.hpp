// Periodic cells as Python has them, as flat arrays.
#pragma once
#include <nanobind/nanobind.h>

#include <cstdint>
#include <vector>

#include "predict.hpp"

namespace mmtp {

// Atoms of cells, one after the other.
struct Frames {
    std::vector<std::int64_t> count;             // [frame]
    std::vector<std::int32_t> type;              // [atom]
    std::vector<double> moment, position, cell;  // [atom] muB; [atom][3] A; [frame][3][3] A, rows are lattice vectors

    // type_of: symbol to type. species, positions, cells and magmoms (or None: no moments) hold one entry per frame: a tuple of
    // symbols, (N, 3) A, (3, 3) A and (N, 3) muB or None. Throws std::invalid_argument where a symbol is not in type_of, a frame has
    // no moments, moments are not along z, or arrays differ in length.
    Frames(const nanobind::dict& type_of, const nanobind::list& species, const nanobind::list& positions, const nanobind::list& cells,
           const nanobind::object& magmoms);

    Cells cells() const {
        return {std::int64_t(count.size()), std::int64_t(type.size()), count.data(), type.data(), moment.data(), position.data(), cell.data()};
    }
};

}  // namespace mmtp

void bind_frames(nanobind::module_&);
