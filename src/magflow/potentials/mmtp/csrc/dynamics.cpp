#include "dynamics.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <unordered_map>

#include "group.hpp"
#include "random.hpp"

namespace mmtp {
namespace {

constexpr std::int64_t kGroupAtoms = 64;  // atoms that share a packing: full lanes, laid out anew when one of their lists is
constexpr double kLost = 1e6;         // A; no atom gets that far but by numbers that have overflowed
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

}  // namespace

double Run::kinetic() const {
    double twice = 0.0;
    for (std::size_t i = 0; i < mass.size(); ++i)
        for (int a = 0; a < 3; ++a) twice += mass[i] * velocity[i][a] * velocity[i][a];
    return 0.5 * twice;
}

double Run::volume() const { return std::abs(determinant(cell)); }

bool Run::finite() const {
    bool all = std::isfinite(energy) && std::isfinite(volume());
    for (std::size_t i = 0; i < mass.size(); ++i)
        for (int a = 0; a < 3; ++a) all &= std::isfinite(velocity[i][a] + force[i][a]) && std::abs(position[i][a]) < kLost;
    return all;
}

void Run::set_shifts() {
    shifts.resize(images.size());
    for (std::size_t k = 0; k < images.size(); ++k)
        for (int a = 0; a < 3; ++a) shifts[k][a] = images[k][0] * cell[0][a] + images[k][1] * cell[1][a] + images[k][2] * cell[2][a];
}

// Sets `images`; returns which of them each pair has.
std::vector<std::int32_t> Run::number_images(const Pairs& found) {
    std::array<std::int32_t, 3> low = {}, size = {1, 1, 1};
    const std::size_t pairs = found.neighbour.size();
    const std::int32_t* image = found.image.data();
    for (int a = 0; a < 3; ++a) {
        std::int32_t high = 0;
        for (std::size_t k = 0; k < pairs; ++k) {
            low[a] = std::min(low[a], image[3 * k + a]);
            high = std::max(high, image[3 * k + a]);
        }
        size[a] = high - low[a] + 1;
    }
    std::unordered_map<std::int64_t, std::int32_t> numbers;
    std::vector<std::int32_t> out(pairs);
    images.clear();
    std::int64_t last = -1;
    for (std::size_t k = 0; k < pairs; ++k, image += 3) {
        const std::int64_t key = (std::int64_t(image[0] - low[0]) * size[1] + (image[1] - low[1])) * size[2] + (image[2] - low[2]);
        if (k && key == last) {
            out[k] = out[k - 1];
            continue;
        }
        last = key;
        const auto [at, fresh] = numbers.try_emplace(key, std::int32_t(images.size()));
        if (fresh) images.push_back({image[0], image[1], image[2]});
        out[k] = at->second;
    }
    return out;
}

// By the neighbours' type.
void Run::set_list(const Pairs& found, int n_types) {
    const std::vector<std::int32_t> image = number_images(found);
    first.assign(1, 0);
    listed.clear();
    for (std::size_t i = 0; i < type.size(); ++i)
        for (int t = 0; t < n_types; ++t) {
            for (std::int64_t k = found.first[i]; k < found.first[i + 1]; ++k)
                if (const std::int32_t j = found.neighbour[k]; type[j] == t) listed.push_back({j, image[k]});
            first.push_back(std::int64_t(listed.size()));
        }
    set_shifts();
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

Dynamics::Dynamics(const Engine& engine, std::vector<Member> members, double reach, double deviation_factor, int threads)
    : engine_(engine),
      members_(std::move(members)),
      search_(reach, true),
      workers_(threads),
      reach_(reach),
      deviation_factor_(deviation_factor) {
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

void Dynamics::list_neighbours(std::size_t r, std::vector<Vec3> position, const Cell& cell) {
    Run& run = runs_.at(r);
    const std::size_t n = run.type.size();
    require(position.size() == n, "wrong number of positions");
    Pairs found;
    search_.add(std::int64_t(n), position[0].data(), cell[0].data(), found);
    run.listed_position = std::move(position);
    run.listed_cell = cell;
    run.set_list(found, members_[0].spec.n_types);
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
        if (!group->runs.empty()) group->evaluate(engine_, members_, deviation_factor_, workers_);
}

// New positions, and lists that hold there, of the runs of a group that are not there yet; whether there are any.
bool Dynamics::begin_step(const Group& group, std::int64_t target) {
    bool any = false;
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
        if (!run->list_holds(members_[0].spec.cutoff, reach_)) list_neighbours(r, run->position, run->cell);
    }
    return any;
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
void Dynamics::advance(std::int64_t target, const std::function<void()>& pause) {
    regroup();
    auto paused = std::chrono::steady_clock::now();
    for (const auto& group : groups_)
        while (begin_step(*group, target)) {
            group->evaluate(engine_, members_, deviation_factor_, workers_);
            end_step(*group);
            if (const auto now = std::chrono::steady_clock::now(); now - paused > kPause) {
                paused = now;
                pause();
            }
        }
}

}  // namespace mmtp
