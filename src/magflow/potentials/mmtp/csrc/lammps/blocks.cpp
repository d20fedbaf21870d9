#include "blocks.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace mmtp {

void Blocks::set_list(std::vector<std::int32_t> type, NeighbourList list, const double* position) {
    n_atoms_ = std::int64_t(type.size());
    n_centres_ = std::int64_t(list.first.size() - 1) / n_types_;
    type_ = std::move(type);
    list_ = std::move(list);
    lay_out(position);
}

bool Blocks::layout_holds(const double* position) const {
    double most = 0.0;
    for (std::int64_t i = 0; i < 3 * n_atoms_; i += 3) {
        const double x = position[i] - laid_out_[i], y = position[i + 1] - laid_out_[i + 1], z = position[i + 2] - laid_out_[i + 2];
        most = std::max(most, x * x + y * y + z * z);
    }
    return 2.0 * std::sqrt(most) < kNear;
}

// Atoms that have as many neighbours of each type within the cutoff share a block, so that few lanes idle.
void Blocks::lay_out(const double* position) {
    laid_out_.assign(position, position + 3 * n_atoms_);
    NeighbourList near = closer(list_, cutoff_ + kNear, position);
    const NeighbourList within = closer(near, cutoff_, position);
    std::vector<std::int64_t> first(n_centres_ + 1);
    std::int64_t most = 0;
    for (std::int64_t i = 0; i <= n_centres_; ++i) first[i] = within.first[i * n_types_];
    for (std::int64_t i = 0; i < n_centres_; ++i) most = std::max(most, near.first[(i + 1) * n_types_] - near.first[i * n_types_]);
    near_first_ = std::move(near.first);
    near_.clear();
    for (const std::int32_t j : near.neighbour) near_.push_back({j, 0});
    const int width = engine_.lanes;
    packing_ = std::make_unique<Packing>(width, n_types_, n_atoms_, type_.data(), Centres{0, n_centres_, first.data(), within.neighbour.data()});
    frame_.assign(n_atoms_, 0);
    lanes_ = packing_->lanes(1, frame_.data());
    lane_first_.assign(width, 0);
    lane_end_.assign(std::int64_t(width) * n_types_, 0);
    slot_begin_.assign(n_types_ + 1, 0);
    other_.resize(width * most + 1);
    rows_.resize(4 * other_.size());
}

// The pairs of a list that are closer than `distance`.
NeighbourList Blocks::closer(const NeighbourList& list, double distance, const double* position) const {
    NeighbourList out = {std::vector<std::int64_t>(1, 0), std::vector<std::int32_t>(list.neighbour.size() + 1)};
    std::int64_t found = 0;
    for (std::size_t row = 0; row + 1 < list.first.size(); ++row) {
        const double* own = position + 3 * (row / n_types_);
        for (std::int64_t k = list.first[row]; k < list.first[row + 1]; ++k) {
            const double* there = position + 3 * std::int64_t(list.neighbour[k]);
            const double x = there[0] - own[0], y = there[1] - own[1], z = there[2] - own[2];
            out.neighbour[found] = list.neighbour[k];
            found += x * x + y * y + z * z < distance * distance;
        }
        out.first.push_back(found);
    }
    out.neighbour.resize(found);
    return out;
}

// Puts the pairs of a block into lanes; what belongs to a neighbour is kept by pair or at its atom. Returns their number.
std::int64_t Blocks::find(std::int64_t block, bool by_pair) {
    const double nowhere[4] = {};
    const int width = lanes_.lanes, count = lanes_.count[block];
    const std::int32_t* centre = lanes_.atom + block * width;
    std::int64_t pairs = 0;
    for (int l = 0; l < count; ++l) {
        const std::int64_t* first = near_first_.data() + std::int64_t(centre[l]) * n_types_;
        lane_first_[l] = pairs;
        for (int t = 0; t < n_types_; ++t) {
            pairs += engine_.pairs({place_.data(), nowhere}, centre[l], near_.data() + first[t], near_.data() + first[t + 1], cutoff_ * cutoff_,
                                   rows_.data() + 4 * pairs, other_.data() + pairs, closest2_);
            lane_end_[l * n_types_ + t] = pairs;
        }
    }
    const auto fill = [&](auto place) {
        fill_slots(width, count, n_types_, lane_first_.data(), lane_end_.data(), slot_begin_.data(), slots_, place);
    };
    if (by_pair)
        fill([&](std::int32_t p, int l) { return p < 0 ? centre[l] : std::int32_t(n_atoms_) + p; });
    else
        fill([&](std::int32_t p, int l) { return p < 0 ? centre[l] : other_[p]; });
    return pairs;
}

double Blocks::evaluate(const double* position, const std::vector<double>& moment, std::vector<View>& views, const PairVisitor& visitor) {
    if (!layout_holds(position)) lay_out(position);
    const std::int64_t rows = n_atoms_ + (visitor ? std::int64_t(other_.size()) : 0);
    for (View& view : views) {
        view.energy.resize(n_centres_);
        view.gradient.assign(4 * rows, 0.0);
        view.virial = {};
    }
    place_.resize(4 * n_atoms_);
    for (std::int64_t i = 0; i < n_atoms_; ++i) {
        for (int a = 0; a < 3; ++a) place_[4 * i + a] = position[3 * i + a];
        place_[4 * i + 3] = moment[i];
    }
    closest2_ = std::numeric_limits<double>::infinity();
    for (std::int64_t b = 0; b < lanes_.n_blocks; ++b) {
        const std::int64_t pairs = find(b, bool(visitor));
        Lanes one = lanes_;
        one.n_blocks = 1;
        one.most_slots = int(slot_begin_.back());
        one.count += b;
        one.type += b * lanes_.lanes;
        one.atom += b * lanes_.lanes;
        one.slot_begin = slot_begin_.data();
        one.pair = slots_.pair.data();
        one.neighbour = slots_.place.data();
        for (View& view : views) {
            evaluate_view(one, moment, view);
            if (visitor) visit(view, pairs, visitor);
        }
    }
    return std::sqrt(closest2_);
}

void Blocks::evaluate_view(const Lanes& lanes, const std::vector<double>& moment, View& view) {
    const Spec& s = *view.spec;
    const double* all = view.parameters;
    work_.resize(engine_.evaluate_workspace(s, lanes.most_slots));
    const State state = {nullptr, moment.data(), view.sign, nullptr, rows_.data()};
    engine_.evaluate(s, {all, all + s.n_radial(), all + s.n_radial() + s.n_scalar}, lanes, 0, state,
                     work_.data(), {view.energy.data(), view.gradient.data(), view.virial.data(), nullptr, view.by_moment});
}

void Blocks::visit(View& view, std::int64_t pairs, const PairVisitor& visitor) {
    double* of_pairs = view.gradient.data() + 4 * n_atoms_;
    visitor(view, {pairs, other_.data(), rows_.data(), of_pairs});
    for (std::int64_t p = 0; p < pairs; ++p)
        for (int a = 0; a < 4; ++a) view.gradient[4 * std::int64_t(other_[p]) + a] += of_pairs[4 * p + a];
    std::fill(of_pairs, of_pairs + 4 * pairs, 0.0);
}

}  // namespace mmtp
