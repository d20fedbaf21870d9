// Runs that are evaluated together: enough atoms to fill the SIMD lanes.
//
// The result of a run does not depend, not by a bit, on which atoms share its lanes: every pair gets a place of its own
// for dE/dr of the neighbour, and these are summed run by run in the order of the run's list.
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
    void evaluate(const Engine&, const std::vector<Member>&, double deviation_factor);

  private:
    void lay_out(const Engine&, const Spec&);
    void assign_lanes(const Engine&, const Spec&);
    void copy_state();
    void find_pairs(const Spec&);
    std::int64_t add_pairs(std::int32_t atom, const Spec&, std::int64_t pair, std::int64_t* end);
    void evaluate_member(const Engine&, const Member&);
    double gather(std::size_t run, double weight, double share, double* force);
    void average(std::size_t run, std::size_t members, double factor);

    std::int64_t n_atoms_ = 0;
    std::vector<std::int64_t> begin_;   // [run] first atom, and the end
    std::vector<std::int32_t> run_of_;  // [atom]
    std::vector<Vec3> position_;        // [atom] A

    // Pairs as far as the lists of the runs reach.
    std::vector<std::int64_t> first_;      // [atom][type], and the end
    std::vector<std::int32_t> neighbour_;  // [pair] atom of this group
    std::vector<const Vec3*> shift_;       // [atom] of its first pair

    // Pairs within the cutoff where the atoms are now, block after block and lane after lane.
    std::vector<std::int64_t> pairs_begin_, pairs_end_;  // [atom]
    std::vector<std::int64_t> of_block_;                 // [block] first pair, and the end
    std::vector<std::int64_t> lane_first_, lane_end_;    // of the block at hand, see slots.hpp
    std::vector<std::int32_t> other_;                    // [pair] atom of this group
    std::vector<double> vector_;                         // [pair][3] A
    std::vector<double> closest_;                        // [run] A^2, also beyond the cutoff

    // The same in SIMD lanes, which atoms keep while the lists hold.
    std::unique_ptr<Packing> packing_;
    Lanes lanes_;
    std::vector<std::int64_t> slot_begin_;   // [block][type], and the end
    Slots slots_;                            // of all blocks
    std::vector<double> moment_, gradient_;  // [place]: the atoms, then pairs, then the place of empty slots
    std::vector<double> energy_, once_, work_;
    std::vector<double> forces_, energies_;  // [member][atom][3], [member][run]
};

}  // namespace mmtp
