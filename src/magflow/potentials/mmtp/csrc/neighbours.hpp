// Neighbours of the atoms of periodic cells: linked cells over an explicit rim of images.
//
// An atom and its images that can be within the cutoff of the cell are sorted into bins of fractional coordinates; what is
// near an atom is then a few runs of consecutive images. Any cell will do: small ones hold many images of one atom, skewed
// and flat ones more of them along one axis.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "grown.hpp"

namespace mmtp {

// Neighbours of atom i are first[i] .. first[i + 1].
struct Pairs {
    std::vector<std::int64_t> first = {0};
    Grown<std::int32_t> neighbour;  // [pair] atom
    Grown<double> vector;           // [pair][3] from the atom to the neighbour, A
    Grown<std::int32_t> image;      // [pair][3] lattice vectors between them beyond their positions' difference, where asked for
    std::vector<double> volume;     // [cell] A^3
    double closest2 = std::numeric_limits<double>::infinity();  // A^2

    // Forgets the pairs of all atoms.
    void clear() {
        first.assign(1, 0);
        neighbour.clear();
        vector.clear();
        image.clear();
    }
};

class NeighbourSearch {
  public:
    // Throws std::invalid_argument unless `cutoff` is positive.
    NeighbourSearch(double cutoff, bool images);
    double cutoff() const { return cutoff_; }

    // Appends the pairs of a cell closer than the cutoff to `out`, whose atoms they follow.
    // position: [n][3] A, anywhere; cell: rows are lattice vectors. Throws std::invalid_argument where a number is not finite, the
    // cell has no volume or holds too many images.
    void add(std::int64_t n, const double* position, const double* cell, Pairs& out);

    // The same in steps: the cell, then the pairs of its atoms begin .. end, whose numbers are counted from `offset` on.
    void set(std::int64_t n, const double* position, const double* cell);
    void add_atoms(std::int64_t begin, std::int64_t end, std::int64_t offset, Pairs& out);
    double volume() const { return volume_; }  // A^3

  private:
    struct Image {
        std::int32_t atom, shift[3];
    };
    struct Unsorted {
        Image image;
        std::int32_t bin;
        double at[3];  // A
    };

    void set_cell(const double* cell);
    void wrap(std::int64_t n, const double* position);
    void make_images(std::int64_t n);
    void sort_images();
    std::int64_t bin(int axis, double fractional) const;
    void pairs_of(std::int64_t atom, std::int64_t offset, Pairs& out);
    std::int64_t within_run(std::int64_t begin, std::int64_t end, const double* from, std::int64_t found);

    double cutoff_;
    bool images_;

    // The cell at hand; reach: the cutoff in units of the heights.
    double cell_[3][3], inverse_[3][3], volume_, reach_[3], per_unit_[3];
    std::int64_t bins_[3];

    std::vector<double> fractional_, home_;   // [atom][3] in the cell; A
    std::vector<std::int32_t> wrapped_;       // [atom][3] lattice vectors taken off
    std::vector<Unsorted> unsorted_;
    std::vector<Image> sorted_;
    std::vector<std::int32_t> bin_begin_;     // [bin], and the end
    std::vector<std::int32_t> home_image_;    // [atom] the sorted image that is the atom itself
    std::vector<double> x_, y_, z_;           // [sorted image] A
    std::vector<double> distance2_;           // [candidate of a run]
    std::vector<std::int32_t> hit_;           // [neighbour of an atom] sorted image
};

}  // namespace mmtp
