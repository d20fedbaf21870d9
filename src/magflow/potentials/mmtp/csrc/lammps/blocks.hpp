// A potential on the atoms of one process and their ghosts, block after block: the pairs of a block are found, put into
// SIMD lanes and evaluated while they are in the first cache.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <new>
#include <vector>

#include "../packing.hpp"
#include "../slots.hpp"
#include "../spec.hpp"

namespace mmtp {

// On a cache line, which rows of four doubles then never cross.
template <typename T>
struct OnCacheLine {
    using value_type = T;
    OnCacheLine() = default;
    template <typename U>
    OnCacheLine(const OnCacheLine<U>&) {}
    T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
    void deallocate(T* p, std::size_t) { ::operator delete(p, std::align_val_t(64)); }
    template <typename U>
    bool operator==(const OnCacheLine<U>&) const { return true; }
    template <typename U>
    bool operator!=(const OnCacheLine<U>&) const { return false; }
};
using Row4s = std::vector<double, OnCacheLine<double>>;

// One set of parameters, at the moments (sign 1) or at the reversed ones (-1), and what it says.
struct View {
    const Spec* spec;
    const double* parameters;
    double sign;
    bool by_moment = true;  // whether dE/dm is wanted
    std::vector<double> energy = {};      // [centre] eV
    Row4s gradient = {};                  // [atom][4] dE/dr and dE/d(sign m); behind them room for pairs
    std::array<double, 6> virial = {};    // dE/d(strain), Voigt, eV
};

// Pairs of one block within the cutoff: neighbour, vector from the centre to it, dE_centre/d(vector) and dE_centre/dm.
struct BlockPairs {
    std::int64_t count;
    const std::int32_t* neighbour;
    const double* row;       // [pair][4] x, y, z (A) and the neighbour's moment
    const double* gradient;  // [pair][4]
};
using PairVisitor = std::function<void(const View&, const BlockPairs&)>;

// Neighbours of the centres, [centre][type] from first[.] to first[. + 1].
struct NeighbourList {
    std::vector<std::int64_t> first;
    std::vector<std::int32_t> neighbour;
};

class Blocks {
  public:
    Blocks(const Engine& engine, int n_types, double cutoff) : engine_(engine), n_types_(n_types), cutoff_(cutoff) {}

    // A new list, which holds as long as whoever made it says. `type` is of all atoms, the first of which are the centres.
    // `position` [atom][3]: where the atoms are now.
    void set_list(std::vector<std::int32_t> type, NeighbourList list, const double* position);

    // Fills the views, and tells of the gradient of every pair if there is a visitor. Returns the smallest distance, A.
    double evaluate(const double* position, const std::vector<double>& moment, std::vector<View>& views, const PairVisitor& visitor = {});

  private:
    bool layout_holds(const double* position) const;
    void lay_out(const double* position);
    NeighbourList closer(const NeighbourList& list, double distance, const double* position) const;
    std::int64_t find(std::int64_t block, bool by_pair);
    void evaluate_view(const Lanes& lanes, const std::vector<double>& moment, View& view);
    void visit(View& view, std::int64_t pairs, const PairVisitor& visitor);

    const Engine& engine_;
    int n_types_;
    double cutoff_, closest2_ = 0.0;
    std::int64_t n_atoms_ = 0, n_centres_ = 0;
    std::vector<std::int32_t> type_;
    NeighbourList list_;

    // The layout: made for the positions `laid_out_`, good until an atom has moved too far from them.
    std::vector<double> laid_out_;
    std::vector<std::int64_t> near_first_;  // of those pairs of the list that may come within the cutoff
    std::vector<Listed> near_;              // all of one image
    std::unique_ptr<Packing> packing_;  // which atoms share a block
    std::vector<std::int32_t> frame_;   // [atom] all of one
    Lanes lanes_;

    Row4s place_;  // [atom][4] x, y, z (A) and moment

    // Of the block at hand.
    std::vector<std::int64_t> lane_first_, lane_end_, slot_begin_;
    std::vector<std::int32_t> other_;  // [pair] atom
    Row4s rows_;                       // [pair][4] vector (A) and the neighbour's moment
    Slots slots_;
    Row4s work_;
};

}  // namespace mmtp
