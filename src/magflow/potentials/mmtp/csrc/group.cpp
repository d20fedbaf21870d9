#include "group.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace mmtp {
namespace {

constexpr std::int64_t kPart = 256, kMostParts = 16;  // atoms; of one run
constexpr std::int64_t kShared = 256;  // atoms that are worth waking other threads for

constexpr int kMostLanes = 8;

typedef double Two __attribute__((vector_size(16), aligned(8), may_alias));

double* aligned(std::vector<double>& store) {
    const auto raw = reinterpret_cast<std::uintptr_t>(store.data());
    return reinterpret_cast<double*>((raw + 63) / 64 * 64);
}

double weight(const Member& member) { return member.symmetrise ? 0.5 : 1.0; }

}  // namespace

void Group::evaluate(const Engine& engine, const std::vector<Member>& members, double factor, Workers& workers) {
    if (!laid_out) lay_out(engine, members.front().spec, members.size());
    copy_state();
    if (!near_holds()) list_near(members.front().spec);
    benches_.resize(workers.threads());
    const auto each = [&](std::int64_t count, const Workers::Task& task) {
        if (n_atoms_ >= kShared) return workers.each(count, task);
        for (std::int64_t k = 0; k < count; ++k) task(k, 0);
    };
    for (std::size_t m = 0; m < members.size(); ++m) {
        each(lanes_.n_blocks, [&](std::int64_t block, int thread) {
            if (m == 0) find_pairs(engine, block, members[0].spec, benches_[thread]);
            evaluate_block(engine, members[m], block, benches_[thread]);
        });
        each(std::int64_t(parts_.size()), [&](std::int64_t part, int) { sum(members[m], m, part); });
    }
    for (std::size_t r = 0; r < runs.size(); ++r) average(r, members, factor);
}

void Group::lay_out(const Engine& engine, const Spec& spec, std::size_t members) {
    begin_.assign(1, 0);
    first_.assign(1, 0);
    listed_.clear();
    shifts_.clear();
    for (const Run* run : runs) {
        const std::int64_t pairs = first_.back();
        const auto atoms = std::int32_t(begin_.back()), images = std::int32_t(shifts_.size());
        for (const Listed& one : run->listed) listed_.push_back({atoms + one.atom, images + one.image});
        for (std::size_t k = 1; k < run->first.size(); ++k) first_.push_back(pairs + run->first[k]);
        shifts_.resize(shifts_.size() + run->shifts.size());
        begin_.push_back(atoms + std::int64_t(run->type.size()));
    }
    n_atoms_ = begin_.back();
    const std::int64_t n_pairs = first_.back();
    place_.resize(n_atoms_);
    closest_.resize(n_atoms_);
    pairs_begin_.resize(n_atoms_);
    pairs_end_.resize(n_atoms_);
    other_.resize(n_pairs + 1);
    rows_.resize(n_pairs + 1);
    moment_.resize(n_atoms_);
    gradient_.resize(4 * (n_atoms_ + n_pairs + 1) + 8);
    energy_.resize(n_atoms_);
    virial_.resize(6 * n_atoms_);
    divide_runs();
    forces_.resize(members * n_rows_);
    energies_.resize(members * parts_.size());
    virials_.resize(members * parts_.size());
    assign_lanes(engine, spec);
    laid_out = true;
}

// Each part adds to forces of its own on all atoms of the run.
void Group::divide_runs() {
    parts_.clear();
    n_rows_ = 0;
    for (std::size_t r = 0; r < runs.size(); ++r) {
        const std::int64_t n = begin_[r + 1] - begin_[r], size = std::max(kPart, (n + kMostParts - 1) / kMostParts);
        for (std::int64_t at = 0; at < n; at += size) {
            parts_.push_back({r, begin_[r] + at, begin_[r] + std::min(n, at + size), n_rows_});
            n_rows_ += n;
        }
    }
}

// Atoms that have as many neighbours of each type within the cutoff share a block, so that few lanes idle.
void Group::assign_lanes(const Engine& engine, const Spec& spec) {
    std::vector<std::int32_t> type;
    for (const Run* run : runs) type.insert(type.end(), run->type.begin(), run->type.end());
    std::vector<std::int64_t> first(1, 0), unused(spec.n_types);
    copy_state();
    list_near(spec);
    for (std::int32_t i = 0; i < n_atoms_; ++i) first.push_back(add_pairs(engine, i, spec, first.back(), unused.data()));
    packing_ = std::make_unique<Packing>(engine.lanes, spec.n_types, n_atoms_, type.data(), Centres{0, n_atoms_, first.data(), other_.data()});
    number_.resize(n_atoms_);
    std::iota(number_.begin(), number_.end(), 0);
    lanes_ = packing_->lanes(n_atoms_, number_.data());  // a frame is what has a virial of its own: every atom
    room_begin_.assign(1, 0);
    slot_begin_.assign(lanes_.n_blocks * (spec.n_types + 1), 0);
    std::int64_t slots = 0;
    for (std::int64_t b = 0; b < lanes_.n_blocks; ++b) {
        slot_begin_[b * (spec.n_types + 1)] = slots;
        room_begin_.push_back(room_begin_.back());
        for (int t = 0; t < spec.n_types; ++t) {
            std::int64_t most = 0;
            for (int l = 0; l < lanes_.count[b]; ++l) {
                const std::int64_t *listed = first_.data() + std::int64_t(lanes_.atom[b * lanes_.lanes + l]) * spec.n_types + t, n = listed[1] - listed[0];
                room_begin_.back() += n;
                most = std::max(most, n);
            }
            slots += most;
        }
    }
    slots_.pair.resize(slots * lanes_.lanes);
    slots_.place.resize(slots * lanes_.lanes);
}

void Group::copy_state() {
    auto to = place_.begin(), shift = shifts_.begin();
    for (std::size_t r = 0; r < runs.size(); ++r) {
        const Run& run = *runs[r];
        for (std::size_t i = 0; i < run.type.size(); ++i) *to++ = {run.position[i][0], run.position[i][1], run.position[i][2], run.moment[i]};
        for (const Vec3& s : run.shifts) *shift++ = {s[0], s[1], s[2], 0.0};
        std::copy(run.moment.begin(), run.moment.end(), moment_.begin() + begin_[r]);
    }
}

// Whether no pair that `near_` lacks can be within the cutoff.
bool Group::near_holds() const {
    double most = 0.0, of_shifts = 0.0;
    const auto moved2 = [](const Vec4& a, const Vec4& b) {
        const double x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
        return x * x + y * y + z * z;
    };
    for (std::int64_t i = 0; i < n_atoms_; ++i) most = std::max(most, moved2(place_[i], near_place_[i]));
    for (std::size_t k = 0; k < shifts_.size(); ++k) of_shifts = std::max(of_shifts, moved2(shifts_[k], near_shifts_[k]));
    return 2.0 * std::sqrt(most) + std::sqrt(of_shifts) < kNear;
}

void Group::list_near(const Spec& spec) {
    const double distance2 = (spec.cutoff + kNear) * (spec.cutoff + kNear);
    near_place_ = place_;
    near_shifts_ = shifts_;
    near_first_.resize(first_.size());
    near_.resize(listed_.size() + 1);
    std::int64_t found = near_first_[0] = 0;
    for (std::size_t row = 0; row + 1 < first_.size(); ++row) {
        const Vec4& own = place_[row / spec.n_types];
        for (std::int64_t k = first_[row]; k < first_[row + 1]; ++k) {
            const Vec4 &there = place_[listed_[k].atom], &shift = shifts_[listed_[k].image];
            const double x = there[0] - own[0] + shift[0], y = there[1] - own[1] + shift[1], z = there[2] - own[2] + shift[2];
            near_[found] = listed_[k];
            found += x * x + y * y + z * z < distance2;
        }
        near_first_[row + 1] = found;
    }
}

// Writes the pairs of an atom that are within the cutoff from `pair` on; `end`: of those of each type. Returns the end of all.
std::int64_t Group::add_pairs(const Engine& engine, std::int32_t atom, const Spec& spec, std::int64_t pair, std::int64_t* end) {
    const std::int64_t* first = near_first_.data() + std::int64_t(atom) * spec.n_types;
    const Places places = {place_.data()->data(), shifts_.data()->data()};
    closest_[atom] = std::numeric_limits<double>::infinity();
    pairs_begin_[atom] = pair;
    for (int t = 0; t < spec.n_types; ++t) {
        pair += engine.pairs(places, atom, near_.data() + first[t], near_.data() + first[t + 1], spec.cutoff * spec.cutoff, rows_[pair].data(),
                             other_.data() + pair, closest_[atom]);
        end[t] = pair;
    }
    pairs_end_[atom] = pair;
    return pair;
}

// Pairs of a block, in lanes.
void Group::find_pairs(const Engine& engine, std::int64_t block, const Spec& spec, Bench& bench) {
    const int width = lanes_.lanes, count = lanes_.count[block];
    const std::int32_t* atom = lanes_.atom + block * width;
    bench.lane_first.resize(width);
    bench.lane_end.resize(std::int64_t(width) * spec.n_types);
    std::int64_t pair = room_begin_[block];
    for (int l = 0; l < count; ++l) {
        bench.lane_first[l] = pair;
        pair = add_pairs(engine, atom[l], spec, pair, bench.lane_end.data() + std::int64_t(l) * spec.n_types);
    }
    const auto place = [&](std::int32_t p, int l) { return p < 0 ? atom[l] : std::int32_t(n_atoms_) + p; };
    std::int64_t* begin = slot_begin_.data() + block * (spec.n_types + 1);
    fill_slots(width, count, spec.n_types, bench.lane_first.data(), bench.lane_end.data(), begin, slots_, place);
}

void Group::evaluate_block(const Engine& engine, const Member& member, std::int64_t block, Bench& bench) {
    const Spec& s = member.spec;
    const double* all = member.parameters.data();
    const Parameters p = {all, all + s.n_radial(), all + s.n_radial() + s.n_scalar};
    const std::int64_t* begin = slot_begin_.data() + block * (s.n_types + 1);
    Lanes one = lanes_;
    one.n_blocks = 1;
    one.count += block;
    one.type += block * one.lanes;
    one.atom += block * one.lanes;
    one.slot_begin = begin;
    one.most_slots = int(begin[s.n_types] - begin[0]);
    one.pair = slots_.pair.data();
    one.neighbour = slots_.place.data();
    const std::size_t needed = engine.evaluate_workspace(s, one.most_slots) + 8;
    if (bench.work.size() < needed) bench.work.resize(needed);
    double *gradient = aligned(gradient_), before[kMostLanes];
    for (int l = 0; l < one.count[0]; ++l) {
        std::fill_n(gradient + 4 * std::int64_t(one.atom[l]), 4, 0.0);
        std::fill_n(virial_.data() + 6 * std::int64_t(one.atom[l]), 6, 0.0);
    }
    const auto evaluate = [&](double sign, bool put) {
        const Output out = {energy_.data(), gradient, virial_.data(), nullptr, false, put};
        engine.evaluate(s, p, one, 0, {nullptr, moment_.data(), sign, nullptr, rows_.data()->data()}, aligned(bench.work), out);
    };
    evaluate(1.0, true);
    if (!member.symmetrise) return;
    for (int l = 0; l < one.count[0]; ++l) before[l] = energy_[one.atom[l]];
    evaluate(-1.0, false);
    for (int l = 0; l < one.count[0]; ++l) energy_[one.atom[l]] += before[l];
}

// Forces of the pairs of one part on the atoms of its run, energy and virial.
void Group::sum(const Member& member, std::size_t m, std::size_t p) {
    const Part& part = parts_[p];
    const std::int64_t first = begin_[part.run], n = begin_[part.run + 1] - first;
    const double factor = weight(member);
    const Two* gradient = reinterpret_cast<const Two*>(aligned(gradient_));
    Vec4* force = forces_.data() + std::int64_t(m) * n_rows_ + part.row;
    Two* halves = reinterpret_cast<Two*>(force);
    const auto push = [&](std::int64_t atom, std::int64_t place) {
        halves[2 * atom] -= factor * gradient[2 * place];
        halves[2 * atom + 1] -= factor * gradient[2 * place + 1];
    };
    double energy = 0.0;
    std::array<double, 6> w = {};
    std::fill(force, force + n, Vec4{});
    for (std::int64_t i = part.begin; i < part.end; ++i) {
        energy += energy_[i];
        for (int a = 0; a < 6; ++a) w[a] += virial_[6 * i + a];
        push(i - first, i);
        for (std::int64_t k = pairs_begin_[i]; k < pairs_end_[i]; ++k) push(other_[k] - first, n_atoms_ + k);
    }
    for (double& x : w) x *= factor;
    energies_[m * parts_.size() + p] = factor * energy;
    virials_[m * parts_.size() + p] = w;
}

// Mean and sample standard deviation over the members, as magflow.core.prediction has them.
void Group::average(std::size_t r, const std::vector<Member>& members, double factor) {
    Run& run = *runs[r];
    const std::size_t n_members = members.size();
    const double k = double(n_members), one_less = n_members > 1 ? k - 1.0 : 1.0;
    const auto mine = [&](const Part& part) { return part.run == r; };
    const std::size_t begin = std::find_if(parts_.begin(), parts_.end(), mine) - parts_.begin();
    const std::size_t end = std::find_if_not(parts_.begin() + begin, parts_.end(), mine) - parts_.begin();
    std::vector<double> of_member(n_members, 0.0);
    const auto deviation = [&](double mean) {
        double spread = 0.0;
        for (double x : of_member) spread += (x - mean) * (x - mean);
        return spread;
    };
    run.virial = {};
    for (std::size_t m = 0; m < n_members; ++m)
        for (std::size_t p = begin; p < end; ++p) {
            of_member[m] += energies_[m * parts_.size() + p];
            for (int a = 0; a < 6; ++a) run.virial[a] += virials_[m * parts_.size() + p][a] / k;
        }
    run.energy = 0.0;
    for (double e : of_member) run.energy += e / k;
    run.energy_deviation = std::sqrt(deviation(run.energy) / one_less);
    double largest = 0.0, closest = std::numeric_limits<double>::infinity();
    for (std::int64_t i = 0; i < begin_[r + 1] - begin_[r]; ++i) {
        double variance = 0.0;
        for (int a = 0; a < 3; ++a) {
            double mean = 0.0;
            for (std::size_t m = 0; m < n_members; ++m) {
                double f = 0.0;
                for (std::size_t p = begin; p < end; ++p) f += forces_[std::int64_t(m) * n_rows_ + parts_[p].row + i][a];
                of_member[m] = f;
                mean += f;
            }
            run.force[i][a] = mean / k;
            variance += deviation(mean / k);
        }
        largest = std::max(largest, variance);
        closest = std::min(closest, closest_[begin_[r] + i]);
    }
    run.deviation = factor * std::sqrt(largest / one_less);
    run.closest = std::sqrt(closest);
}

}  // namespace mmtp
