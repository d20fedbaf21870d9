#include "blocks.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace mmtp {

void Blocks::set_list(std::vector<std::int32_t> type, std::vector<std::int64_t> first, std::vector<std::int32_t> neighbour,
                      const double* position) {
    n_atoms_ = std::int64_t(type.size());
    n_centres_ = std::int64_t(first.size() - 1) / n_types_;
    first_ = std::move(first);
    neighbour_ = std::move(neighbour);
    const int width = engine_.lanes;
    lane_first_.assign(width, 0);
    lane_end_.assign(std::int64_t(width) * n_types_, 0);
    slot_begin_.assign(n_types_ + 1, 0);
    std::int64_t most = 0;
    for (std::int64_t i = 0; i < n_centres_; ++i) most = std::max(most, first_[(i + 1) * n_types_] - first_[i * n_types_]);

    // Atoms that have as many neighbours of each type within the cutoff share a block, so that few lanes idle.
    other_.resize(neighbour_.size() + 1);
    vector_.resize(3 * other_.size());
    std::vector<std::int64_t> within(1, 0);
    for (std::int64_t i = 0; i < n_centres_; ++i) within.push_back(add_pairs(std::int32_t(i), position, within.back(), lane_end_.data()));
    const std::vector<std::int32_t> frame(n_atoms_, 0);
    packing_ = std::make_unique<Packing>(width, n_types_, n_atoms_, n_centres_, 1, type.data(), frame.data(), within.data(), other_.data());
    lanes_ = packing_->lanes();
    other_.resize(width * most + 1);
    vector_.resize(3 * other_.size());
    moment_.resize(n_atoms_ + other_.size());
}

// Appends the pairs of a centre that are within the cutoff; `end`: of those of each type. Returns the end of all. Without
// a branch: whether a pair of the list is within is a coin's toss.
std::int64_t Blocks::add_pairs(std::int32_t centre, const double* position, std::int64_t pair, std::int64_t* end) {
    const double x = position[3 * centre], y = position[3 * centre + 1], z = position[3 * centre + 2];
    const std::int64_t* first = first_.data() + std::int64_t(centre) * n_types_;
    double closest2 = closest2_;
    for (int t = 0; t < n_types_; ++t) {
        for (std::int64_t k = first[t]; k < first[t + 1]; ++k) {
            const std::int32_t j = neighbour_[k];
            double* v = vector_.data() + 3 * pair;
            v[0] = position[3 * std::int64_t(j)] - x;
            v[1] = position[3 * std::int64_t(j) + 1] - y;
            v[2] = position[3 * std::int64_t(j) + 2] - z;
            const double d2 = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
            closest2 = std::min(closest2, d2);
            other_[pair] = j;
            pair += d2 < cutoff2_;
        }
        end[t] = pair;
    }
    closest2_ = closest2;
    return pair;
}

// Puts the pairs of a block into lanes; what belongs to a neighbour is kept by pair or at its atom. Returns their number.
std::int64_t Blocks::find(std::int64_t block, const double* position, bool by_pair) {
    const int width = lanes_.lanes, count = lanes_.count[block];
    const std::int32_t* centre = lanes_.atom + block * width;
    std::int64_t pairs = 0;
    for (int l = 0; l < count; ++l) {
        lane_first_[l] = pairs;
        pairs = add_pairs(centre[l], position, pairs, lane_end_.data() + l * n_types_);
    }
    const auto fill = [&](auto place) {
        fill_slots(width, count, n_types_, lane_first_.data(), lane_end_.data(), slot_begin_.data(), slots_, place);
    };
    if (by_pair) {
        for (std::int64_t p = 0; p < pairs; ++p) moment_[n_atoms_ + p] = moment_[other_[p]];
        fill([&](std::int32_t p, int l) { return p < 0 ? centre[l] : std::int32_t(n_atoms_) + p; });
    } else {
        fill([&](std::int32_t p, int l) { return p < 0 ? centre[l] : other_[p]; });
    }
    return pairs;
}

double Blocks::evaluate(const double* position, const std::vector<double>& moment, std::vector<View>& views, const PairVisitor& visitor) {
    const std::int64_t rows = n_atoms_ + (visitor ? std::int64_t(other_.size()) : 0);
    for (View& view : views) {
        view.energy.resize(n_centres_);
        view.gradient.assign(4 * rows, 0.0);
        view.virial = {};
    }
    std::copy(moment.begin(), moment.end(), moment_.begin());
    closest2_ = std::numeric_limits<double>::infinity();
    for (std::int64_t b = 0; b < lanes_.n_blocks; ++b) {
        const std::int64_t pairs = find(b, position, bool(visitor));
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
            evaluate_view(one, view);
            if (visitor) visit(view, pairs, visitor);
        }
    }
    return std::sqrt(closest2_);
}

void Blocks::evaluate_view(const Lanes& lanes, View& view) {
    const Spec& s = *view.spec;
    const double* all = view.parameters;
    work_.resize(engine_.evaluate_workspace(s, lanes.most_slots));
    engine_.evaluate(s, {all, all + s.n_radial(), all + s.n_radial() + s.n_scalar}, lanes, 0, {vector_.data(), moment_.data(), view.sign},
                     work_.data(), {view.energy.data(), view.gradient.data(), view.virial.data(), nullptr});
}

void Blocks::visit(View& view, std::int64_t pairs, const PairVisitor& visitor) {
    double* of_pairs = view.gradient.data() + 4 * n_atoms_;
    visitor(view, {pairs, other_.data(), vector_.data(), of_pairs});
    for (std::int64_t p = 0; p < pairs; ++p)
        for (int a = 0; a < 4; ++a) view.gradient[4 * std::int64_t(other_[p]) + a] += of_pairs[4 * p + a];
    std::fill(of_pairs, of_pairs + 4 * pairs, 0.0);
}

}  // namespace mmtp
