#include "dynamics.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "random.hpp"

namespace mmtp {
namespace {

constexpr std::int64_t kGroupAtoms = 64;  // atoms that share a packing: full lanes, laid out anew when one of their lists is
constexpr auto kPause = std::chrono::milliseconds(50);

double determinant(const Cell& c) {
    return c[0][0] * (c[1][1] * c[2][2] - c[1][2] * c[2][1]) - c[0][1] * (c[1][0] * c[2][2] - c[1][2] * c[2][0]) +
           c[0][2] * (c[1][0] * c[2][1] - c[1][1] * c[2][0]);
}

// Lengths whose product is the volume; one that grows by a factor is the cell stretched along that axis.
Vec3 lengths(const Cell& c) {
    Vec3 out;
    for (int a = 0; a < 3; ++a) out[a] = std::sqrt(c[0][a] * c[0][a] + c[1][a] * c[1][a] + c[2][a] * c[2][a]);
    const double scale = std::cbrt(std::abs(determinant(c)) / (out[0] * out[1] * out[2]));
    for (double& x : out) x *= scale;
    return out;
}

double* aligned(std::vector<double>& store) {
    const auto raw = reinterpret_cast<std::uintptr_t>(store.data());
    return reinterpret_cast<double*>((raw + 63) / 64 * 64);
}

}  // namespace

double Run::kinetic() const {
    double twice = 0.0;
    for (std::size_t i = 0; i < mass.size(); ++i)
        for (int a = 0; a < 3; ++a) twice += mass[i] * velocity[i][a] * velocity[i][a];
    return 0.5 * twice;
}

double Run::volume() const { return std::abs(determinant(cell)); }

bool Run::finite() const {
    double sum = energy;
    for (std::size_t i = 0; i < mass.size(); ++i)
        for (int a = 0; a < 3; ++a) sum += 0.0 * (position[i][a] + velocity[i][a] + force[i][a]);
    return std::isfinite(sum) && std::isfinite(volume());
}

void Run::set_shifts() {
    for (std::size_t k = 0; k < shift.size(); ++k)
        for (int a = 0; a < 3; ++a)
            shift[k][a] = image[3 * k] * cell[0][a] + image[3 * k + 1] * cell[1][a] + image[3 * k + 2] * cell[2][a];
}

bool Run::list_holds(double cutoff, double reach) const {
    if (listed_position.empty()) return false;
    const Vec3 now = lengths(cell), then = lengths(listed_cell);
    Vec3 stretch, mean = {};
    double least = std::numeric_limits<double>::infinity(), most = 0.0;
    for (int a = 0; a < 3; ++a) least = std::min(least, stretch[a] = now[a] / then[a]);
    const std::size_t n = position.size();
    for (std::size_t i = 0; i < n; ++i)
        for (int a = 0; a < 3; ++a) mean[a] += (position[i][a] - stretch[a] * listed_position[i][a]) / double(n);
    for (std::size_t i = 0; i < n; ++i) {
        double d2 = 0.0;
        for (int a = 0; a < 3; ++a) {
            const double d = position[i][a] - stretch[a] * listed_position[i][a] - mean[a];
            d2 += d * d;
        }
        most = std::max(most, d2);
    }
    return 2.0 * std::sqrt(most) <= least * reach - cutoff;
}

double Run::piston_energy() const {
    double twice = 0.0;
    for (int a = 0; a < settings.pistons; ++a) twice += piston[a] * piston[a] / settings.piston_mass;
    return 0.5 * twice;
}

// Forces act on atoms, virial and outer pressure on the pistons.
void Run::kick(double dt) {
    for (std::size_t i = 0; i < mass.size(); ++i)
        for (int a = 0; a < 3; ++a) velocity[i][a] += dt * force[i][a] / mass[i];
    if (settings.pistons == 1)
        piston[0] += dt * (-(virial[0] + virial[1] + virial[2]) / (3.0 * volume()) - settings.pressure);
    if (settings.pistons == 3) {
        const Vec3 l = lengths(cell);
        for (int a = 0; a < 3; ++a) piston[a] += dt * (-virial[a] - settings.pressure * volume()) / l[a];
    }
}

// Atoms move, and push the pistons by their momentum.
void Run::drift(double dt) {
    Vec3 twice = {};
    for (std::size_t i = 0; i < mass.size(); ++i)
        for (int a = 0; a < 3; ++a) {
            position[i][a] += dt * velocity[i][a];
            twice[a] += mass[i] * velocity[i][a] * velocity[i][a];
        }
    if (settings.pistons == 1) piston[0] += dt * (twice[0] + twice[1] + twice[2]) / (3.0 * volume());
    if (settings.pistons == 3) {
        const Vec3 l = lengths(cell);
        for (int a = 0; a < 3; ++a) piston[a] += dt * twice[a] / l[a];
    }
}

// The pistons move; scaled positions and their momenta stay.
void Run::resize(double dt) {
    if (!settings.pistons) return;
    Vec3 factor;
    if (settings.pistons == 1) {
        const double v = volume();
        factor.fill(std::cbrt((v + dt * piston[0] / settings.piston_mass) / v));
    } else {
        const Vec3 l = lengths(cell);
        for (int a = 0; a < 3; ++a) factor[a] = 1.0 + dt * piston[a] / (settings.piston_mass * l[a]);
    }
    for (int a = 0; a < 3; ++a) {
        for (auto& row : cell) row[a] *= factor[a];
        for (std::size_t i = 0; i < mass.size(); ++i) {
            position[i][a] *= factor[a];
            velocity[i][a] /= factor[a];
        }
    }
}

void Run::exchange_heat() {
    if (settings.friction == 0.0) return;
    const double before = kinetic() + piston_energy(), keep = std::exp(-settings.friction * settings.timestep);
    const double noise = std::sqrt((1.0 - keep * keep) * settings.kt);
    double xi[3];
    for (std::size_t i = 0; i < mass.size(); ++i) {
        normals(settings.key, std::uint64_t(step), std::uint32_t(i), Purpose::noise, xi);
        for (int a = 0; a < 3; ++a) velocity[i][a] = keep * velocity[i][a] + noise / std::sqrt(mass[i]) * xi[a];
    }
    if (settings.pistons) normals(settings.key, std::uint64_t(step), 0, Purpose::piston, xi);
    for (int a = 0; a < settings.pistons; ++a) piston[a] = keep * piston[a] + noise * std::sqrt(settings.piston_mass) * xi[a];
    heat += kinetic() + piston_energy() - before;
}

void Run::first_half() {
    const double half = 0.5 * settings.timestep;
    kick(half);
    resize(half);
    drift(half);
    exchange_heat();
    drift(half);
    resize(half);
    if (settings.pistons) set_shifts();
}

void Run::second_half() {
    kick(0.5 * settings.timestep);
    ++step;
}

void Run::note(double energy_factor) {
    double twice[6] = {};
    for (std::size_t i = 0; i < mass.size(); ++i) {
        const Vec3& v = velocity[i];
        const double products[6] = {v[0] * v[0], v[1] * v[1], v[2] * v[2], v[1] * v[2], v[0] * v[2], v[0] * v[1]};
        for (int a = 0; a < 6; ++a) twice[a] += mass[i] * products[a];
    }
    const double kinetic = 0.5 * (twice[0] + twice[1] + twice[2]);
    double conserved = energy + kinetic - heat;
    if (settings.pistons) conserved += settings.pressure * volume() + piston_energy();
    const double head[5] = {double(step), energy, conserved, energy_factor * energy_deviation / double(mass.size()), deviation};
    const Vec3 l = lengths(cell);
    record.insert(record.end(), head, head + 5);
    record.insert(record.end(), twice, twice + 6);
    record.insert(record.end(), virial.begin(), virial.end());
    record.insert(record.end(), l.begin(), l.end());
}

void Run::check() {
    if (!finite())
        stop = Stop::not_finite;
    else if (closest < settings.min_distance)
        stop = Stop::min_distance;
    else if (energy < settings.min_energy || energy > settings.max_energy)
        stop = Stop::energy;
    else if (kinetic() > settings.max_kinetic)
        stop = Stop::temperature;
    else if (deviation > settings.max_deviation)
        stop = Stop::deviation;
}

// Every pair gets a place of its own for dE/dr of the neighbour, and these are summed run by run: so the result of a
// run does not depend, not by a bit, on which atoms share its lanes.
class Group {
  public:
    std::vector<Run*> runs;
    bool laid_out = false;

    void evaluate(const Engine& engine, const std::vector<Member>& members, double factor) {
        if (!laid_out) lay_out(engine, members.front().spec.n_types);
        std::vector<double>& total = forces_;
        total.assign(members.size() * 3 * n_atoms_, 0.0);
        energies_.assign(members.size() * runs.size(), 0.0);
        update_state();
        for (Run* run : runs) run->virial = {};
        for (std::size_t m = 0; m < members.size(); ++m) {
            evaluate_member(engine, members[m]);
            const double weight = (members[m].symmetrise ? 0.5 : 1.0), share = weight / double(members.size());
            for (std::size_t r = 0; r < runs.size(); ++r)
                energies_[m * runs.size() + r] = gather(r, weight, share, total.data() + 3 * n_atoms_ * m);
        }
        for (std::size_t r = 0; r < runs.size(); ++r) average(r, members.size(), factor);
    }

  private:
    void lay_out(const Engine& engine, int n_types) {
        std::vector<std::int32_t> type, neighbour;
        std::vector<std::int64_t> first = {0};
        begin_.assign(1, 0);
        pair_begin_.assign(1, 0);
        for (const Run* run : runs) {
            for (std::size_t i = 0; i < run->type.size(); ++i) {
                type.push_back(run->type[i]);
                first.push_back(pair_begin_.back() + run->first[i + 1]);
            }
            for (std::int32_t j : run->neighbour) neighbour.push_back(std::int32_t(begin_.back()) + j);
            begin_.push_back(std::int64_t(type.size()));
            pair_begin_.push_back(std::int64_t(neighbour.size()));
        }
        n_atoms_ = begin_.back();
        n_pairs_ = pair_begin_.back();
        const std::vector<std::int32_t> frame(n_atoms_, 0);
        packing_ = std::make_unique<Packing>(engine.lanes, n_types, n_atoms_, 1, type.data(), frame.data(), first.data(), neighbour.data());
        neighbour_ = std::move(neighbour);
        lanes_ = packing_->lanes();
        const std::int64_t slots = lanes_.slot_begin[lanes_.n_blocks * n_types] * engine.lanes;
        place_.resize(slots);
        for (std::int64_t k = 0; k < slots; ++k) place_[k] = std::int32_t(n_atoms_ + (lanes_.pair[k] < 0 ? n_pairs_ : lanes_.pair[k]));
        lanes_.neighbour = place_.data();
        vector_.resize(3 * n_pairs_);
        moment_.resize(n_atoms_ + n_pairs_ + 1);
        gradient_.resize(4 * (n_atoms_ + n_pairs_ + 1) + 8);
        energy_.resize(n_atoms_);
        laid_out = true;
    }

    void update_state() {
        for (std::size_t r = 0; r < runs.size(); ++r) {
            Run& run = *runs[r];
            double* v = vector_.data() + 3 * pair_begin_[r];
            double closest = std::numeric_limits<double>::infinity();
            for (std::size_t i = 0; i < run.type.size(); ++i)
                for (std::int64_t k = run.first[i]; k < run.first[i + 1]; ++k, v += 3) {
                    const Vec3 &to = run.position[run.neighbour[k]], &from = run.position[i];
                    for (int a = 0; a < 3; ++a) v[a] = to[a] - from[a] + run.shift[k][a];
                    closest = std::min(closest, v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
                }
            run.closest = std::sqrt(closest);
            std::copy(run.moment.begin(), run.moment.end(), moment_.begin() + begin_[r]);
        }
        for (std::int64_t k = 0; k < n_pairs_; ++k) moment_[n_atoms_ + k] = moment_[neighbour_[k]];
    }

    void evaluate_member(const Engine& engine, const Member& member) {
        const Spec& s = member.spec;
        const Parameters p = {member.parameters.data(), member.parameters.data() + s.n_radial(),
                              member.parameters.data() + s.n_radial() + s.n_scalar};
        work_.resize(engine.evaluate_workspace(s, lanes_.most_slots) + 8);
        std::fill(gradient_.begin(), gradient_.end(), 0.0);
        std::vector<double>& once = once_;
        once.assign(n_atoms_, 0.0);
        double unused[6] = {};
        for (double sign : {1.0, -1.0}) {
            if (sign < 0.0 && !member.symmetrise) continue;
            const Output out = {energy_.data(), aligned(gradient_), unused, nullptr};
            for (std::int64_t b = 0; b < lanes_.n_blocks; ++b)
                engine.evaluate(s, p, lanes_, b, {vector_.data(), moment_.data(), sign}, aligned(work_), out);
            for (std::int64_t i = 0; i < n_atoms_; ++i) once[i] += energy_[i];
        }
    }

    // Forces of one member on the atoms of a run, its share of the mean virial; returns its energy.
    double gather(std::size_t r, double weight, double share, double* force) {
        Run& run = *runs[r];
        const double* gradient = aligned(gradient_);
        double energy = 0.0;
        for (std::int64_t i = begin_[r]; i < begin_[r + 1]; ++i) {
            energy += once_[i];
            for (int a = 0; a < 3; ++a) force[3 * i + a] -= weight * gradient[4 * i + a];
        }
        double w[6] = {};
        const double* of_pair = gradient + 4 * n_atoms_;
        for (std::int64_t k = pair_begin_[r]; k < pair_begin_[r + 1]; ++k) {
            const double *g = of_pair + 4 * k, *v = vector_.data() + 3 * k;
            double* f = force + 3 * std::int64_t(neighbour_[k]);
            for (int a = 0; a < 3; ++a) {
                f[a] -= weight * g[a];
                w[a] += v[a] * g[a];
            }
            w[3] += 0.5 * (v[1] * g[2] + v[2] * g[1]);
            w[4] += 0.5 * (v[0] * g[2] + v[2] * g[0]);
            w[5] += 0.5 * (v[0] * g[1] + v[1] * g[0]);
        }
        for (int a = 0; a < 6; ++a) run.virial[a] += share * w[a];
        return weight * energy;
    }

    // Mean and sample standard deviation over the members, as magflow.core.prediction has them.
    void average(std::size_t r, std::size_t members, double factor) {
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

    std::unique_ptr<Packing> packing_;
    Lanes lanes_;
    std::int64_t n_atoms_ = 0, n_pairs_ = 0;
    std::vector<std::int64_t> begin_, pair_begin_;  // [run] first atom, first pair
    std::vector<std::int32_t> neighbour_;           // [pair] atom of this group
    std::vector<std::int32_t> place_;               // [slot][lane] where dE/dr of the neighbour goes
    std::vector<double> vector_, moment_, gradient_, energy_, once_, work_, forces_, energies_;
};

Dynamics::Dynamics(const Engine& engine, std::vector<Member> members, double reach, double deviation_factor)
    : engine_(engine), members_(std::move(members)), reach_(reach), deviation_factor_(deviation_factor) {
    if (members_.empty()) throw std::invalid_argument("no members");
    for (const Member& m : members_)
        if (m.spec.n_types != members_[0].spec.n_types || m.spec.cutoff != members_[0].spec.cutoff)
            throw std::invalid_argument("members differ in species or cutoff");
    if (!(reach_ > members_[0].spec.cutoff)) throw std::invalid_argument("no skin");
}

Dynamics::~Dynamics() = default;

std::size_t Dynamics::add(Run run) {
    for (std::int32_t t : run.type)
        if (t < 0 || t >= members_[0].spec.n_types) throw std::invalid_argument("bad type");
    run.force.assign(run.type.size(), Vec3{});
    runs_.push_back(std::move(run));
    under_way_.push_back(0);
    going_.push_back(1);
    grouped_ = false;
    return runs_.size() - 1;
}

void Dynamics::set_neighbours(std::size_t r, std::vector<std::int64_t> first, std::vector<std::int32_t> neighbour,
                              std::vector<std::int32_t> image) {
    Run& run = runs_.at(r);
    run.first = std::move(first);
    run.neighbour = std::move(neighbour);
    run.image = std::move(image);
    run.shift.resize(run.neighbour.size());
    run.set_shifts();
    if (grouped_ && going_[r]) groups_[group_of_[r]]->laid_out = false;
}

void Dynamics::set_moments(std::size_t r, std::vector<double> moment) {
    if (moment.size() != runs_.at(r).moment.size()) throw std::invalid_argument("wrong number of moments");
    runs_[r].moment = std::move(moment);
}

void Dynamics::retire(std::size_t r) {
    if (!going_.at(r)) return;
    going_[r] = 0;
    if (!grouped_) return;
    Group& group = *groups_[group_of_[r]];
    group.runs.erase(std::find(group.runs.begin(), group.runs.end(), &runs_[r]));
    group.laid_out = false;
}

void Dynamics::record(std::int64_t every, double energy_factor) {
    record_every_ = every;
    energy_factor_ = energy_factor;
}

void Dynamics::regroup() {
    if (grouped_) return;
    groups_.clear();
    group_of_.assign(runs_.size(), 0);
    std::int64_t atoms = kGroupAtoms;
    for (std::size_t r = 0; r < runs_.size(); ++r) {
        if (!going_[r]) continue;
        if (atoms >= kGroupAtoms) {
            groups_.push_back(std::make_unique<Group>());
            atoms = 0;
        }
        groups_.back()->runs.push_back(&runs_[r]);
        group_of_[r] = groups_.size() - 1;
        atoms += std::int64_t(runs_[r].type.size());
    }
    grouped_ = true;
}

void Dynamics::evaluate() {
    for (std::size_t r = 0; r < runs_.size(); ++r)
        if (going_[r] && !runs_[r].list_holds(members_[0].spec.cutoff, reach_)) throw std::invalid_argument("a run has no list");
    regroup();
    for (const auto& group : groups_)
        if (!group->runs.empty()) group->evaluate(engine_, members_, deviation_factor_);
}

// Whether the runs of a group that are not there yet have new positions, and lists that hold there.
bool Dynamics::begin_step(const Group& group, std::int64_t target, std::vector<std::size_t>& unlisted) {
    bool any = false, listed = true;
    const std::vector<Run*> runs = group.runs;  // retire() takes one out of the group
    for (Run* run : runs) {
        const auto r = std::size_t(run - runs_.data());
        if (!under_way_[r]) {
            if (run->step >= target) continue;
            run->first_half();
            under_way_[r] = 1;
        }
        if (!run->finite()) {
            run->stop = Stop::not_finite;
            retire(r);
            continue;
        }
        any = true;
        if (run->list_holds(members_[0].spec.cutoff, reach_)) continue;
        unlisted.push_back(r);
        listed = false;
    }
    return any && listed;
}

void Dynamics::end_step(const Group& group) {
    const std::vector<Run*> runs = group.runs;
    for (Run* run : runs) {
        const auto r = std::size_t(run - runs_.data());
        if (!under_way_[r]) continue;
        under_way_[r] = 0;
        run->second_half();
        run->check();
        if (record_every_ && run->step % record_every_ == 0 && run->finite()) run->note(energy_factor_);
        if (run->stop != Stop::none) retire(r);
    }
}

// Group after group, so that one stays in the cache for as many steps as its lists allow.
std::vector<std::size_t> Dynamics::advance(std::int64_t target, const std::function<void()>& pause) {
    regroup();
    auto paused = std::chrono::steady_clock::now();
    std::vector<std::size_t> unlisted;
    for (const auto& group : groups_)
        while (begin_step(*group, target, unlisted)) {
            group->evaluate(engine_, members_, deviation_factor_);
            end_step(*group);
            if (const auto now = std::chrono::steady_clock::now(); now - paused > kPause) {
                paused = now;
                pause();
            }
        }
    return unlisted;
}

}  // namespace mmtp
