// Molecular dynamics of many cells side by side on the mean of potentials that share species and cutoff.
//
// Units: A, eV, amu and their time A sqrt(amu/eV), which is ASE's.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "neighbours.hpp"
#include "packing.hpp"
#include "spec.hpp"
#include "workers.hpp"

namespace mmtp {

using Vec3 = std::array<double, 3>;
using Cell = std::array<Vec3, 3>;  // rows are lattice vectors

// Why a run ended; in the order of magflow.core.dynamics.Stop.
enum class Stop : int { none, not_finite, min_distance, energy, temperature, deviation };

// How one run moves and where it ends.
struct Settings {
    double timestep = 0.0;
    double friction = 0.0;  // of the Langevin baths; 0: none
    double kt = 0.0;        // eV
    double pressure = 0.0;  // eV/A^3
    double piston_mass = 0.0;
    int pistons = 0;  // 0: the cell is fixed, 1: its volume moves, 3: its lengths along x, y, z
    std::uint64_t key = 0;
    double min_distance = 0.0, min_energy = 0.0, max_energy = 0.0, max_kinetic = 0.0, max_deviation = 0.0;
};

constexpr std::size_t kRecord = 20;

// One run: what it is and where it has got to.
struct Run {
    Settings settings;
    std::vector<std::int32_t> type;
    std::vector<double> mass, moment;
    std::vector<Vec3> position, velocity, force;
    Cell cell;
    Vec3 piston = {};   // momenta
    double heat = 0.0;  // energy received from the baths, eV
    std::int64_t step = 0;

    double energy = 0.0, energy_deviation = 0.0, deviation = 0.0, closest = 0.0;
    std::array<double, 6> virial = {};  // dE/d(strain), Voigt, eV
    Stop stop = Stop::none;

    // Neighbours within the cutoff and the skin where the atoms were when the list was made, by type.
    std::vector<std::int64_t> first;  // [atom][type], and the end
    std::vector<Listed> listed;
    std::vector<std::array<std::int32_t, 3>> images;  // lattice vectors to add, each set once
    std::vector<Vec3> shifts;                         // [image] A
    std::vector<Vec3> listed_position;
    Cell listed_cell = {};

    std::vector<double> record;  // rows of kRecord numbers, in the order of magflow.core.dynamics.RECORD

    void note(double energy_factor);  // adds a row
    double kinetic() const;
    double volume() const;
    bool finite() const;  // and no atom is lost
    void set_list(const Pairs& found, int n_types);
    void set_shifts();
    // Whether no pair can have come within `cutoff` that a list made with `reach` does not hold.
    bool list_holds(double cutoff, double reach) const;
    void first_half();   // up to the new positions
    void second_half();  // with the new forces
    void check();        // sets `stop`

  private:
    std::vector<std::int32_t> number_images(const Pairs& found);
    void kick(double dt);
    void drift(double dt);
    void resize(double dt);
    void exchange_heat();
    double piston_energy() const;
};

struct Member {
    std::vector<double> parameters;
    Spec spec;
    bool symmetrise;  // use (E(M) + E(-M))/2
};

class Group;

class Dynamics {
  public:
    // Nothing that comes out depends on the number of threads.
    Dynamics(const Engine&, std::vector<Member>, double reach, double deviation_factor, int threads);
    Dynamics(const Dynamics&) = delete;
    ~Dynamics();
    std::size_t add(Run);
    std::vector<Run>& runs() { return runs_; }
    // Lists the neighbours of a run where its atoms are, or were when its last list was made.
    void list_neighbours(std::size_t run, std::vector<Vec3> position, const Cell& cell);
    void set_moments(std::size_t run, std::vector<double> moment);
    void retire(std::size_t run);
    // Energies and forces where the runs are; every run needs a valid list.
    void evaluate();
    // From now on notes every run at every step that `every` divides; 0: no more.
    void record(std::int64_t every, double energy_factor);
    // Makes steps until every run has stopped or has made `step`. `pause` is called now and then, between steps; what it
    // throws leaves all runs usable.
    void advance(std::int64_t step, const std::function<void()>& pause);

  private:
    void regroup();
    bool begin_step(const Group&, std::int64_t target);
    void end_step(const Group&);

    const Engine& engine_;
    std::vector<Member> members_;
    NeighbourSearch search_;
    Workers workers_;
    double reach_, deviation_factor_, energy_factor_ = 1.0;
    std::int64_t record_every_ = 0;
    std::vector<Run> runs_;
    std::vector<char> under_way_, going_;  // first half made; neither stopped nor retired
    std::vector<std::size_t> group_of_;
    std::vector<std::unique_ptr<Group>> groups_;
    bool grouped_ = false;
};

}  // namespace mmtp
