#include "group.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mmtp {
namespace {

double* aligned(std::vector<double>& store) {
    const auto raw = reinterpret_cast<std::uintptr_t>(store.data());
    return reinterpret_cast<double*>((raw + 63) / 64 * 64);
}

}  // namespace

void Group::evaluate(const Engine& engine, const std::vector<Member>& members, double factor) {
    if (!laid_out) lay_out(engine, members.front().spec);
    forces_.assign(members.size() * 3 * n_atoms_, 0.0);
    energies_.assign(members.size() * runs.size(), 0.0);
    copy_state();
    find_pairs(members.front().spec);
    for (Run* run : runs) run->virial = {};
    for (std::size_t m = 0; m < members.size(); ++m) {
        evaluate_member(engine, members[m]);
        const double weight = members[m].symmetrise ? 0.5 : 1.0, share = weight / double(members.size());
        for (std::size_t r = 0; r < runs.size(); ++r)
            energies_[m * runs.size() + r] = gather(r, weight, share, forces_.data() + 3 * n_atoms_ * m);
    }
    for (std::size_t r = 0; r < runs.size(); ++r) average(r, members.size(), factor);
}

void Group::lay_out(const Engine& engine, const Spec& spec) {
    begin_.assign(1, 0);
    first_.assign(1, 0);
    run_of_.clear();
    neighbour_.clear();
    shift_.clear();
    for (std::size_t r = 0; r < runs.size(); ++r) {
        const Run& run = *runs[r];
        const std::int64_t atoms = begin_.back(), pairs = first_.back(), n = std::int64_t(run.type.size());
        for (std::int64_t i = 0; i < n; ++i) shift_.push_back(run.shift.data() + run.first[i * spec.n_types]);
        for (std::int32_t j : run.neighbour) neighbour_.push_back(std::int32_t(atoms + j));
        for (std::size_t k = 1; k < run.first.size(); ++k) first_.push_back(pairs + run.first[k]);
        run_of_.insert(run_of_.end(), n, std::int32_t(r));
        begin_.push_back(atoms + n);
    }
    n_atoms_ = begin_.back();
    const std::int64_t n_pairs = first_.back();
    position_.resize(n_atoms_);
    pairs_begin_.resize(n_atoms_);
    pairs_end_.resize(n_atoms_);
    energy_.resize(n_atoms_);
    other_.resize(n_pairs + 1);
    vector_.resize(3 * (n_pairs + 1));
    moment_.assign(n_atoms_ + n_pairs + 1, 0.0);
    gradient_.assign(4 * (n_atoms_ + n_pairs + 1) + 8, 0.0);
    assign_lanes(engine, spec);
    laid_out = true;
}

// Atoms that have as many neighbours of each type within the cutoff share a block, so that few lanes idle.
void Group::assign_lanes(const Engine& engine, const Spec& spec) {
    std::vector<std::int32_t> type;
    for (const Run* run : runs) type.insert(type.end(), run->type.begin(), run->type.end());
    std::vector<std::int64_t> first(1, 0), unused(spec.n_types);
    copy_state();
    for (std::int32_t i = 0; i < n_atoms_; ++i) first.push_back(add_pairs(i, spec, first.back(), unused.data()));
    const std::vector<std::int32_t> frame(n_atoms_, 0);
    packing_ = std::make_unique<Packing>(engine.lanes, spec.n_types, n_atoms_, n_atoms_, 1, type.data(), frame.data(), first.data(), other_.data());
    lanes_ = packing_->lanes();
    slot_begin_.assign(lanes_.n_blocks * spec.n_types + 1, 0);
    of_block_.assign(lanes_.n_blocks + 1, 0);
    lane_first_.assign(lanes_.lanes, 0);
    lane_end_.assign(std::int64_t(lanes_.lanes) * spec.n_types, 0);
    lanes_.slot_begin = slot_begin_.data();
}

void Group::copy_state() {
    for (std::size_t r = 0; r < runs.size(); ++r) {
        std::copy(runs[r]->position.begin(), runs[r]->position.end(), position_.begin() + begin_[r]);
        std::copy(runs[r]->moment.begin(), runs[r]->moment.end(), moment_.begin() + begin_[r]);
    }
    closest_.assign(runs.size(), std::numeric_limits<double>::infinity());
}

void Group::find_pairs(const Spec& spec) {
    lanes_.most_slots = 0;
    std::int64_t pair = 0;
    const std::int32_t nowhere = std::int32_t(moment_.size()) - 1, atoms = std::int32_t(n_atoms_);
    const auto place = [&](std::int32_t p, int) { return p < 0 ? nowhere : atoms + p; };
    for (std::int64_t b = 0; b < lanes_.n_blocks; ++b) {
        of_block_[b] = pair;
        for (int l = 0; l < lanes_.count[b]; ++l) {
            lane_first_[l] = pair;
            pair = add_pairs(lanes_.atom[b * lanes_.lanes + l], spec, pair, lane_end_.data() + l * spec.n_types);
        }
        std::int64_t* begin = slot_begin_.data() + b * spec.n_types;
        fill_slots(lanes_.lanes, lanes_.count[b], spec.n_types, lane_first_.data(), lane_end_.data(), begin, slots_, place);
        lanes_.most_slots = std::max(lanes_.most_slots, int(begin[spec.n_types] - begin[0]));
    }
    of_block_.back() = pair;
    lanes_.pair = slots_.pair.data();
    lanes_.neighbour = slots_.place.data();
    for (std::size_t r = 0; r < runs.size(); ++r) runs[r]->closest = std::sqrt(closest_[r]);
}

// Appends the pairs of an atom that are within the cutoff; `end`: of those of each type. Returns the end of all. Without a
// branch: whether a pair of the list is within is a coin's toss.
std::int64_t Group::add_pairs(std::int32_t atom, const Spec& spec, std::int64_t pair, std::int64_t* end) {
    const double cutoff2 = spec.cutoff * spec.cutoff;
    const Vec3 from = position_[atom];
    const Vec3* shift = shift_[atom];
    const std::int64_t* first = first_.data() + std::int64_t(atom) * spec.n_types;
    double closest = closest_[run_of_[atom]];
    pairs_begin_[atom] = pair;
    for (int t = 0; t < spec.n_types; ++t) {
        for (std::int64_t k = first[t]; k < first[t + 1]; ++k, ++shift) {
            const std::int32_t j = neighbour_[k];
            const Vec3& to = position_[j];
            double* v = vector_.data() + 3 * pair;
            for (int a = 0; a < 3; ++a) v[a] = to[a] - from[a] + (*shift)[a];
            const double d2 = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
            closest = std::min(closest, d2);
            other_[pair] = j;
            moment_[n_atoms_ + pair] = moment_[j];
            pair += d2 < cutoff2;
        }
        end[t] = pair;
    }
    closest_[run_of_[atom]] = closest;
    pairs_end_[atom] = pair;
    return pair;
}

void Group::evaluate_member(const Engine& engine, const Member& member) {
    const Spec& s = member.spec;
    const double* all = member.parameters.data();
    const Parameters p = {all, all + s.n_radial(), all + s.n_radial() + s.n_scalar};
    work_.resize(engine.evaluate_workspace(s, lanes_.most_slots) + 8);
    double *gradient = aligned(gradient_), *of_pairs = gradient + 4 * n_atoms_, unused[6] = {};
    std::fill(gradient, of_pairs, 0.0);
    once_.assign(n_atoms_, 0.0);
    const Output out = {energy_.data(), gradient, unused, nullptr};
    for (std::int64_t b = 0; b < lanes_.n_blocks; ++b) {
        std::fill(of_pairs + 4 * of_block_[b], of_pairs + 4 * of_block_[b + 1], 0.0);  // while it is at hand
        for (double sign : {1.0, -1.0}) {
            if (sign < 0.0 && !member.symmetrise) continue;
            engine.evaluate(s, p, lanes_, b, {vector_.data(), moment_.data(), sign}, aligned(work_), out);
            for (int l = 0; l < lanes_.count[b]; ++l) {
                const std::int32_t i = lanes_.atom[b * lanes_.lanes + l];
                once_[i] += energy_[i];
            }
        }
    }
}

// Forces of one member on the atoms of a run, its share of the mean virial; returns its energy.
double Group::gather(std::size_t r, double weight, double share, double* force) {
    const double *gradient = aligned(gradient_), *of_pairs = gradient + 4 * n_atoms_;
    double energy = 0.0, w[6] = {};
    for (std::int64_t i = begin_[r]; i < begin_[r + 1]; ++i) {
        energy += once_[i];
        for (int a = 0; a < 3; ++a) force[3 * i + a] -= weight * gradient[4 * i + a];
    }
    for (std::int64_t i = begin_[r]; i < begin_[r + 1]; ++i)
        for (std::int64_t k = pairs_begin_[i]; k < pairs_end_[i]; ++k) {
            const double *g = of_pairs + 4 * k, *v = vector_.data() + 3 * k;
            double* f = force + 3 * std::int64_t(other_[k]);
            for (int a = 0; a < 3; ++a) {
                f[a] -= weight * g[a];
                w[a] += v[a] * g[a];
            }
            w[3] += 0.5 * (v[1] * g[2] + v[2] * g[1]);
            w[4] += 0.5 * (v[0] * g[2] + v[2] * g[0]);
            w[5] += 0.5 * (v[0] * g[1] + v[1] * g[0]);
        }
    for (int a = 0; a < 6; ++a) runs[r]->virial[a] += share * w[a];
    return weight * energy;
}

// Mean and sample standard deviation over the members, as magflow.core.prediction has them.
void Group::average(std::size_t r, std::size_t members, double factor) {
    Run& run = *runs[r];
    const double k = double(members), one_less = members > 1 ? k - 1.0 : 1.0;
    double mean = 0.0, spread = 0.0, largest = 0.0;
    for (std::size_t m = 0; m < members; ++m) mean += energies_[m * runs.size() + r] / k;
    for (std::size_t m = 0; m < members; ++m) spread += std::pow(energies_[m * runs.size() + r] - mean, 2);
    run.energy = mean;
    run.energy_deviation = std::sqrt(spread / one_less);
    for (std::int64_t i = begin_[r]; i < begin_[r + 1]; ++i) {
        double variance = 0.0;
        for (int a = 0; a < 3; ++a) {
            double f = 0.0;
            for (std::size_t m = 0; m < members; ++m) f += forces_[3 * (m * n_atoms_ + i) + a];
            f /= k;
            for (std::size_t m = 0; m < members; ++m) variance += std::pow(forces_[3 * (m * n_atoms_ + i) + a] - f, 2);
            run.force[i - begin_[r]][a] = f;
        }
        largest = std::max(largest, variance);
    }
    run.deviation = factor * std::sqrt(largest / one_less);
}

}  // namespace mmtp
