// Atoms and neighbours in the order of the SIMD lanes, for one list of neighbours.
#pragma once
#include <cstdint>
#include <vector>

#include "spec.hpp"

namespace mmtp {

// Atoms begin .. end are evaluated, the others are neighbours only. Neighbours of atom i are first[i - begin] .. first[i - begin + 1].
struct Centres {
    std::int64_t begin, end;
    const std::int64_t* first;
    const std::int32_t* neighbour;
};

class Packing {
  public:
    // Throws std::invalid_argument where a neighbour is out of range.
    Packing(int lanes, int n_types, std::int64_t n_atoms, const std::int32_t* type, const Centres&);
    // frame: [atom], to be kept as long as these.
    Lanes lanes(std::int64_t n_frames, const std::int32_t* frame) const;

  private:
    void count_neighbours(const std::int32_t* type, const Centres&);
    void add_block(const std::int32_t* atoms, int count, const std::int32_t* type, const Centres&);

    int lanes_, n_types_, most_slots_ = 0;
    std::int64_t n_atoms_, n_pairs_;
    std::vector<std::int32_t> type_, count_, atom_, pair_, neighbour_;
    std::vector<std::int64_t> slot_begin_;
    std::vector<std::int64_t> of_type_, next_;  // while it is made: [centre][type] neighbours; [type] where the next one goes
};

// All blocks, one after the other: the same answer on every run. `out` is overwritten.
void evaluate(const Engine&, const Spec&, const Parameters&, const Lanes&, const State&, const Output& out);
// Products of d2E/d(r, m)2 with `count` vectors [atom][4] of positions and moment: out[vector][atom][4].
void hessian_products(const Engine&, const Spec&, const Parameters&, const Lanes&, const State&, std::int64_t count, const double* vectors,
                      double* out);
void gradient(const Engine&, const Spec&, const Parameters&, const Lanes&, const State&, const Tangent&, double* out);

}  // namespace mmtp
