// Runs that are evaluated together: enough atoms to fill the SIMD lanes.
//
// The result of a run does not depend, not by a bit, on which atoms share its lanes or on the number of threads: every pair
// gets a place of its own for dE/dr of the neighbour, and these are summed run by run, part by part, in the order of the
// run's list.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "dynamics.hpp"
#include "packing.hpp"
#include "slots.hpp"
#include "spec.hpp"

namespace mmtp {

class Group {
  public:
    std::vector<Run*> runs;
    bool laid_out = false;  // to be set to false when a run leaves or gets another list

    // Energy, forces, virial and their deviations of every run where it is.
    void evaluate(const Engine&, const std::vector<Member>&, double deviation_factor, Workers&);

  private:
    using Vec4 = std::array<double, 4>;

    // What a thread works in.
    struct Bench {
        std::vector<std::int64_t> lane_first, lane_end;  // see slots.hpp
        std::vector<double> work;
    };
    // Atoms of a run whose pairs are summed in one go.
    struct Part {
        std::size_t run;
        std::int64_t begin, end;  // atoms of this group
        std::int64_t row;         // in `forces_`, of the run's first atom
    };

    void lay_out(const Engine&, const Spec&, std::size_t members);
    void assign_lanes(const Engine&, const Spec&);
    void divide_runs();
    void copy_state();
    bool near_holds() const;
    void list_near(const Spec&);
    std::int64_t add_pairs(const Engine&, std::int32_t atom, const Spec&, std::int64_t pair, std::int64_t* end);
    void find_pairs(const Engine&, std::int64_t block, const Spec&, Bench&);
    void evaluate_block(const Engine&, const Member&, std::int64_t block, Bench&);
    void sum(const Member&, std::size_t member, std::size_t part);
    void average(std::size_t run, const std::vector<Member>&, double factor);

    std::int64_t n_atoms_ = 0;
    std::vector<std::int64_t> begin_;  // [run] first atom, and the end
    std::vector<Vec4> place_;          // [atom] x, y, z (A) and moment

    // Pairs as far as the lists of the runs reach.
    std::vector<std::int64_t> first_;  // [atom][type], and the end
    std::vector<Listed> listed_;       // atom of this group, row of `shifts_`
    std::vector<Vec4> shifts_;         // x, y, z (A) and 0, run after run

    // Of these the ones that may have come within the cutoff since the atoms were at `near_place_`.
    std::vector<std::int64_t> near_first_;  // as first_
    std::vector<Listed> near_;
    std::vector<Vec4> near_place_, near_shifts_;

    // Pairs within the cutoff where the atoms are now; each block has room for all that are listed.
    std::vector<std::int64_t> room_begin_;               // [block] its first pair
    std::vector<std::int64_t> pairs_begin_, pairs_end_;  // [atom]
    std::vector<std::int32_t> other_;                    // [pair] atom of this group
    std::vector<Vec4> rows_;                             // [pair] vector (A) and the other's moment
    std::vector<double> closest_;                        // [atom] A^2; at least the cutoff's square where none is within it

    // The same in SIMD lanes, which atoms keep while the lists hold.
    std::unique_ptr<Packing> packing_;
    std::vector<std::int32_t> number_;  // [atom]
    Lanes lanes_;
    std::vector<std::int64_t> slot_begin_;   // [block][type], and the block's end: n_types + 1 numbers
    Slots slots_;                            // of all blocks
    std::vector<Bench> benches_;             // [thread]
    std::vector<double> moment_, gradient_;  // [atom]; [place][4], places: the atoms, then the pairs
    std::vector<double> energy_, virial_;    // [atom]; [atom][6] dE_atom/d(strain)

    std::vector<Part> parts_;
    std::vector<Vec4> forces_;                    // [member][row] x, y, z and what is not read
    std::vector<double> energies_;                // [member][part]
    std::vector<std::array<double, 6>> virials_;  // [member][part]
    std::int64_t n_rows_ = 0;
};

}  // namespace mmtp
