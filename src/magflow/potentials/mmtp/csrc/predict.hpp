// Energies and their derivatives of periodic cells, from the positions of their atoms, by several potentials.
//
// Some hundred atoms at a time: their neighbours are found, laid out and evaluated for every potential while they are in the
// cache.
#pragma once
#include <cstdint>
#include <vector>

#include "neighbours.hpp"
#include "packing.hpp"
#include "spec.hpp"

namespace mmtp {

struct Evaluated {
    const Spec* spec;
    Parameters parameters;
    bool symmetrise;  // use (E(M) + E(-M))/2
};

// Cells, one after the other.
struct Cells {
    std::int64_t n_frames, n_atoms;
    const std::int64_t* count;     // [frame]
    const std::int32_t* type;      // [atom]
    const double *moment, *position, *cell;  // [atom] muB; [atom][3] A; [frame][3][3] A, rows are lattice vectors
};

struct Predicted {
    std::vector<double> energy, gradient, virial;  // [frame] eV; [atom][4] dE/dr and dE/dm; [frame][6] dE/d(strain)
};

class Predictor {
  public:
    // All potentials know the species and the cutoff of the first. by_moment: whether dE/dm is wanted.
    Predictor(const Engine&, std::vector<Evaluated>, bool by_moment);
    // Throws std::invalid_argument as NeighbourSearch::add does, or where a type is out of range.
    std::vector<Predicted> predict(const Cells&);
    const std::vector<double>& volumes() const { return pairs_.volume; }  // [frame] A^3, of the last cells
    double closest() const;                                               // A

  private:
    // What one potential says at the moments and at the reversed ones.
    struct Sums {
        std::vector<double> energy, gradient, virial;  // [atom]; as in Predicted
    };

    void evaluate(const Cells&, std::int64_t first_frame, std::int64_t n_frames, std::int64_t base, std::int64_t begin, std::int64_t end);
    Predicted added_up(const Cells&, const Evaluated&, std::vector<Sums>&&) const;

    const Engine& engine_;
    std::vector<Evaluated> potentials_;
    bool by_moment_;
    NeighbourSearch search_;
    Pairs pairs_;
    std::vector<std::int32_t> frame_;      // [atom] of those at hand
    std::vector<std::vector<Sums>> sums_;  // [potential][sign]
};

}  // namespace mmtp
