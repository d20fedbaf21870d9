#include "packing.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "room.hpp"

namespace mmtp {
namespace {

constexpr int kWindow = 64;  // blocks among which atoms are sorted: few empty lanes, and still close in memory

}  // namespace

Packing::Packing(int lanes, int n_types, std::int64_t n_atoms, const std::int32_t* type, const Centres& c)
    : lanes_(lanes), n_types_(n_types), n_atoms_(n_atoms), n_pairs_(c.first[c.end - c.begin]) {
    require(c.first[0] == 0, "bad neighbour offsets");
    require(n_pairs_ < std::numeric_limits<std::int32_t>::max(), "too many neighbours for one batch");
    for (std::int64_t k = 0; k < c.end - c.begin; ++k) require(c.first[k] <= c.first[k + 1], "bad neighbour offsets");
    count_neighbours(type, c);

    slot_begin_.push_back(0);
    pair_.reserve(n_pairs_ + n_pairs_ / 4);
    neighbour_.reserve(n_pairs_ + n_pairs_ / 4);
    // Atoms of one block need as many slots per type as the neediest of them: put equally needy ones together.
    const auto need = [&](std::int64_t i) {
        const std::int64_t k = i - c.begin;
        return (of_type_[k * n_types_] << 32) + (c.first[k + 1] - c.first[k]);
    };
    std::vector<std::pair<std::int64_t, std::int32_t>> mine;
    std::vector<std::int32_t> atoms, rest;
    for (int t = 0; t < n_types; ++t) {
        mine.clear();
        for (std::int64_t i = c.begin; i < c.end; ++i)
            if (type[i] == t) mine.emplace_back(need(i), std::int32_t(i));
        for (std::size_t a = 0; a < mine.size(); a += std::size_t(kWindow) * lanes)
            std::sort(mine.begin() + a, mine.begin() + std::min(mine.size(), a + std::size_t(kWindow) * lanes));
        atoms.clear();
        for (const auto& one : mine) atoms.push_back(one.second);
        const std::size_t full = atoms.size() / lanes * lanes;
        for (std::size_t a = 0; a < full; a += lanes) add_block(atoms.data() + a, lanes, type, c);
        rest.insert(rest.end(), atoms.begin() + full, atoms.end());
    }
    for (std::size_t a = 0; a < rest.size(); a += lanes)
        add_block(rest.data() + a, int(std::min<std::size_t>(lanes, rest.size() - a)), type, c);
    of_type_ = {};
}

void Packing::count_neighbours(const std::int32_t* type, const Centres& c) {
    of_type_.assign((c.end - c.begin) * n_types_, 0);
    for (std::int64_t i = 0; i < c.end - c.begin; ++i)
        for (std::int64_t k = c.first[i]; k < c.first[i + 1]; ++k) {
            require(c.neighbour[k] >= 0 && c.neighbour[k] < n_atoms_, "bad neighbour");
            ++of_type_[i * n_types_ + type[c.neighbour[k]]];
        }
}

void Packing::add_block(const std::int32_t* atoms, int count, const std::int32_t* type, const Centres& c) {
    count_.push_back(count);
    for (int l = 0; l < lanes_; ++l) {
        atom_.push_back(atoms[l < count ? l : 0]);
        type_.push_back(type[atom_.back()]);
    }
    const std::int32_t* own = atom_.data() + atom_.size() - lanes_;
    const std::int64_t begin = slot_begin_.back();
    for (int t = 0; t < n_types_; ++t) {
        std::int64_t most = 0;
        for (int l = 0; l < count; ++l) most = std::max(most, of_type_[(own[l] - c.begin) * n_types_ + t]);
        slot_begin_.push_back(slot_begin_.back() + most);
    }
    const std::int64_t end = slot_begin_.back(), *slot_of = slot_begin_.data() + slot_begin_.size() - 1 - n_types_;
    pair_.resize(end * lanes_, -1);
    neighbour_.resize(end * lanes_);
    for (std::int64_t at = begin * lanes_; at < end * lanes_; at += lanes_)
        for (int l = 0; l < lanes_; ++l) neighbour_[at + l] = own[l];
    next_.resize(n_types_);
    for (int l = 0; l < count; ++l) {
        for (int t = 0; t < n_types_; ++t) next_[t] = slot_of[t] * lanes_ + l;
        const std::int64_t* first = c.first + (own[l] - c.begin);
        for (std::int64_t k = first[0]; k < first[1]; ++k) {
            const std::int32_t j = c.neighbour[k];
            std::int64_t& at = next_[type[j]];
            pair_[at] = std::int32_t(k);
            neighbour_[at] = j;
            at += lanes_;
        }
    }
    most_slots_ = std::max(most_slots_, int(end - begin));
}

Lanes Packing::lanes(std::int64_t n_frames, const std::int32_t* frame) const {
    Lanes v;
    v.lanes = lanes_;
    v.n_types = n_types_;
    v.n_atoms = n_atoms_;
    v.n_frames = n_frames;
    v.n_blocks = std::int64_t(count_.size());
    v.n_pairs = n_pairs_;
    v.most_slots = most_slots_;
    v.type = type_.data();
    v.count = count_.data();
    v.atom = atom_.data();
    v.frame = frame;
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
