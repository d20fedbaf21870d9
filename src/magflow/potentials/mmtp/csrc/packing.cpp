#include "packing.hpp"

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>

namespace mmtp {
namespace {

constexpr int kWindow = 64;  // blocks among which atoms are sorted: few empty lanes, and still close in memory

// Room for doubles on a cache line, not filled.
class Room {
  public:
    explicit Room(std::int64_t size) : store_(new double[size + 8]) {}
    double* data() const { return reinterpret_cast<double*>((reinterpret_cast<std::uintptr_t>(store_.get()) + 63) / 64 * 64); }

  private:
    std::unique_ptr<double[]> store_;
};

}  // namespace

Packing::Packing(int lanes, int n_types, std::int64_t n_atoms, std::int64_t n_centres, std::int64_t n_frames,
                 const std::int32_t* type, const std::int32_t* frame, const std::int64_t* first, const std::int32_t* neighbour)
    : lanes_(lanes), n_types_(n_types), n_atoms_(n_atoms), n_frames_(n_frames), n_pairs_(n_centres ? first[n_centres] : 0) {
    require(first[0] == 0, "bad neighbour offsets");
    require(n_pairs_ < std::numeric_limits<std::int32_t>::max(), "too many neighbours for one batch");
    for (std::int64_t i = 0; i < n_atoms; ++i) {
        require(type[i] >= 0 && type[i] < n_types, "bad type");
        require(frame[i] >= 0 && frame[i] < n_frames, "bad frame");
    }
    for (std::int64_t i = 0; i < n_centres; ++i) require(first[i] <= first[i + 1], "bad neighbour offsets");
    for (std::int64_t k = 0; k < n_pairs_; ++k) require(neighbour[k] >= 0 && neighbour[k] < n_atoms, "bad neighbour");

    frame_.assign(frame, frame + n_atoms);
    slot_begin_.push_back(0);
    pair_.reserve(n_pairs_ + n_pairs_ / 4);
    neighbour_.reserve(n_pairs_ + n_pairs_ / 4);
    // Atoms of one block need as many slots per type as the neediest of them: put equally needy ones together.
    std::vector<std::int32_t> of_first_type(n_centres, 0);
    for (std::int64_t i = 0; i < n_centres; ++i)
        for (std::int64_t k = first[i]; k < first[i + 1]; ++k) of_first_type[i] += type[neighbour[k]] == 0;
    std::vector<std::int32_t> mine, rest;
    for (int t = 0; t < n_types; ++t) {
        mine.clear();
        for (std::int64_t i = 0; i < n_centres; ++i)
            if (type[i] == t) mine.push_back(std::int32_t(i));
        for (std::size_t a = 0; a < mine.size(); a += std::size_t(kWindow) * lanes) {
            const auto end = std::min(mine.size(), a + std::size_t(kWindow) * lanes);
            std::stable_sort(mine.begin() + a, mine.begin() + end, [&](std::int32_t x, std::int32_t y) {
                const auto nx = first[x + 1] - first[x], ny = first[y + 1] - first[y];
                return of_first_type[x] != of_first_type[y] ? of_first_type[x] < of_first_type[y] : nx < ny;
            });
        }
        const std::size_t full = mine.size() / lanes * lanes;
        for (std::size_t a = 0; a < full; a += lanes) add_block(mine.data() + a, lanes, type, first, neighbour);
        rest.insert(rest.end(), mine.begin() + full, mine.end());
    }
    for (std::size_t a = 0; a < rest.size(); a += lanes)
        add_block(rest.data() + a, int(std::min<std::size_t>(lanes, rest.size() - a)), type, first, neighbour);
}

void Packing::add_block(const std::int32_t* atoms, int count, const std::int32_t* type, const std::int64_t* first,
                        const std::int32_t* neighbour) {
    count_.push_back(count);
    for (int l = 0; l < lanes_; ++l) {
        atom_.push_back(atoms[l < count ? l : 0]);
        type_.push_back(type[atom_.back()]);
    }
    const std::int64_t begin = slot_begin_.back();
    std::int64_t slot = begin;
    for (int t = 0; t < n_types_; ++t) {
        const std::int64_t start = slot;
        for (int l = 0; l < count; ++l) {
            std::int64_t mine = start;
            for (std::int64_t k = first[atoms[l]]; k < first[atoms[l] + 1]; ++k) {
                if (type[neighbour[k]] != t) continue;
                if (mine == slot) {
                    for (int x = 0; x < lanes_; ++x) {
                        pair_.push_back(-1);
                        neighbour_.push_back(atoms[x < count ? x : 0]);
                    }
                    ++slot;
                }
                pair_[mine * lanes_ + l] = std::int32_t(k);
                neighbour_[mine * lanes_ + l] = neighbour[k];
                ++mine;
            }
        }
        slot_begin_.push_back(slot);
    }
    most_slots_ = std::max(most_slots_, int(slot - begin));
}

Lanes Packing::lanes() const {
    Lanes v;
    v.lanes = lanes_;
    v.n_types = n_types_;
    v.n_atoms = n_atoms_;
    v.n_frames = n_frames_;
    v.n_blocks = std::int64_t(count_.size());
    v.n_pairs = n_pairs_;
    v.most_slots = most_slots_;
    v.type = type_.data();
    v.count = count_.data();
    v.atom = atom_.data();
    v.frame = frame_.data();
    v.slot_begin = slot_begin_.data();
    v.pair = pair_.data();
    v.neighbour = neighbour_.data();
    return v;
}

void evaluate(const Engine& e, const Spec& s, const Parameters& p, const Lanes& lanes, const State& state, const Output& out) {
    std::fill(out.energy, out.energy + lanes.n_atoms, 0.0);
    if (out.gradient) std::fill(out.gradient, out.gradient + 4 * lanes.n_atoms, 0.0);
    if (out.gradient) std::fill(out.virial, out.virial + 6 * lanes.n_frames, 0.0);
    const Room work(e.evaluate_workspace(s, lanes.most_slots));
    for (std::int64_t b = 0; b < lanes.n_blocks; ++b) e.evaluate(s, p, lanes, b, state, work.data(), out);
}

void hessian_products(const Engine& e, const Spec& s, const Parameters& p, const Lanes& lanes, const State& state, std::int64_t count,
                      const double* vectors, double* out) {
    const Room work(e.along_workspace(s, lanes.most_slots));
    const std::int64_t size = 4 * lanes.n_atoms;
    std::vector<double> slope(lanes.n_atoms), virial(6 * lanes.n_frames);  // along the vector: not asked for
    State along = state;
    std::fill(out, out + count * size, 0.0);
    for (std::int64_t k = 0; k < count; ++k) {
        along.tangent = vectors + k * size;
        for (std::int64_t b = 0; b < lanes.n_blocks; ++b)
            e.along(s, p, lanes, b, along, work.data(), {slope.data(), out + k * size, virial.data(), nullptr});
    }
}

void gradient(const Engine& e, const Spec& s, const Parameters& p, const Lanes& lanes, const State& state, const Tangent& tangent,
              double* out) {
    const std::int64_t size = std::int64_t(s.n_parameters()) * e.lanes;
    const Room work(e.gradient_workspace(s, lanes.most_slots)), sums(size);
    double* of_lanes = sums.data();
    std::fill(of_lanes, of_lanes + size, 0.0);
    for (std::int64_t b = 0; b < lanes.n_blocks; ++b) e.gradient(s, p, lanes, b, state, tangent, work.data(), of_lanes);
    for (int k = 0; k < s.n_parameters(); ++k) out[k] = std::accumulate(of_lanes + k * e.lanes, of_lanes + (k + 1) * e.lanes, 0.0);
}

}  // namespace mmtp
