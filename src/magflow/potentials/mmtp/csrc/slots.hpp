// The pairs of one block of atoms in SIMD lanes.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace mmtp {

// A; a list with a wide skin holds twice as many pairs as are within the cutoff. Those this much farther than the cutoff are
// looked at in every step, until an atom has moved by half of it: some ten steps in a crystal at room temperature.
constexpr double kNear = 0.4;

// A slot holds one pair of every lane; the slots of a block are ordered by the neighbours' type.
struct Slots {
    std::vector<std::int32_t> pair, place;  // [slot][lane] pair or -1: empty; where its moment is and its dE/dr goes
};

// Lays out the pairs of one block from slot `begin[0]` on; sets begin[type + 1].
//
// first: [lane] its first pair; end: [lane][type] end of its pairs of each type; place_of(pair or -1, lane).
template <typename Place>
void fill_slots(int width, int count, int n_types, const std::int64_t* first, const std::int64_t* end, std::int64_t* begin, Slots& out,
                Place place_of) {
    for (int t = 0; t < n_types; ++t) {
        const auto from = [&](int l) { return t ? end[l * n_types + t - 1] : first[l]; };
        std::int64_t most = 0;
        for (int l = 0; l < count; ++l) most = std::max(most, end[l * n_types + t] - from(l));
        begin[t + 1] = begin[t] + most;
        if (const std::size_t size = begin[t + 1] * width; out.pair.size() < size) {
            out.pair.resize(size);
            out.place.resize(size);
        }
        for (int l = 0; l < width; ++l) {
            const std::int64_t start = l < count ? from(l) : 0, n = l < count ? end[l * n_types + t] - start : 0;
            std::int32_t *pair = out.pair.data() + begin[t] * width + l, *place = out.place.data() + begin[t] * width + l;
            for (std::int64_t k = 0; k < most; ++k, pair += width, place += width) {
                *pair = k < n ? std::int32_t(start + k) : -1;
                *place = place_of(*pair, l);
            }
        }
    }
}

}  // namespace mmtp
