#include "neighbours.hpp"

#include <cmath>
#include <numeric>

#include "spec.hpp"

namespace mmtp {
namespace {

constexpr double kSlack = 1e-9;  // of the reach, in units of the heights: rounding loses no image
constexpr double kFine = 4.0;    // bins per cutoff along the third axis, whose runs are cut to the bin
constexpr double kSphere = 4.1887902047863905;  // 4 pi / 3
constexpr double kMostImages = 2e8;

void cross(const double* a, const double* b, double* out) {
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

double dot(const double* a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

}  // namespace

NeighbourSearch::NeighbourSearch(double cutoff, bool images) : cutoff_(cutoff), images_(images) {
    require(std::isfinite(cutoff) && cutoff > 0.0, "no cutoff");
}

void NeighbourSearch::add(std::int64_t n, const double* position, const double* cell, Pairs& out) {
    set(n, position, cell);
    add_atoms(0, n, std::int64_t(out.first.size()) - 1, out);
    out.volume.push_back(volume_);
}

void NeighbourSearch::set(std::int64_t n, const double* position, const double* cell) {
    set_cell(cell);
    wrap(n, position);
    make_images(n);
    sort_images();
}

void NeighbourSearch::add_atoms(std::int64_t begin, std::int64_t end, std::int64_t offset, Pairs& out) {
    const double in_cell = double(home_image_.size()), of_one = in_cell * kSphere * cutoff_ * cutoff_ * cutoff_ / volume_;
    const auto expected = std::size_t(1.1 * double(end - begin) * of_one) + 64;
    out.neighbour.room(expected);
    out.vector.room(3 * expected);
    if (images_) out.image.room(3 * expected);
    for (std::int64_t i = begin; i < end; ++i) pairs_of(i, offset, out);
}

// Columns of the inverse are normal to the faces and as long as 1 / height.
void NeighbourSearch::set_cell(const double* cell) {
    for (int k = 0; k < 9; ++k) cell_[k / 3][k % 3] = cell[k];
    for (int a = 0; a < 3; ++a) {
        double normal[3];
        cross(cell_[(a + 1) % 3], cell_[(a + 2) % 3], normal);
        const double volume = dot(cell_[a], normal);
        require(std::isfinite(volume) && volume != 0.0, "a cell has no volume");
        volume_ = std::abs(volume);
        for (int x = 0; x < 3; ++x) inverse_[x][a] = normal[x] / volume;
        reach_[a] = cutoff_ * std::sqrt(dot(normal, normal)) / std::abs(volume) + kSlack;
    }
}

void NeighbourSearch::wrap(std::int64_t n, const double* position) {
    fractional_.resize(3 * n);
    home_.resize(3 * n);
    wrapped_.resize(3 * n);
    for (std::int64_t i = 0; i < n; ++i) {
        const double* r = position + 3 * i;
        double whole[3];
        for (int a = 0; a < 3; ++a) {
            const double f = r[0] * inverse_[0][a] + r[1] * inverse_[1][a] + r[2] * inverse_[2][a];
            whole[a] = std::floor(f);
            require(std::abs(whole[a]) < 1e9, "an atom is nowhere");
            fractional_[3 * i + a] = f - whole[a];
            wrapped_[3 * i + a] = std::int32_t(whole[a]);
        }
        for (int x = 0; x < 3; ++x)
            home_[3 * i + x] = r[x] - (whole[0] * cell_[0][x] + whole[1] * cell_[1][x] + whole[2] * cell_[2][x]);
    }
}

// Those with fractional coordinates from -reach to 1 + reach.
void NeighbourSearch::make_images(std::int64_t n) {
    double expected = double(n);
    for (double r : reach_) expected *= 1.0 + 2.0 * r;
    require(expected < kMostImages, "a cell is so flat or so skewed that it holds too many neighbours");
    const double most = 2.0 * expected + 64.0;  // no more bins than that: an empty cell is wide
    double bins = 1.0;
    for (int a = 0; a < 3; ++a) {
        const double wanted = (1.0 + 2.0 * reach_[a]) / reach_[a] * (a == 2 ? kFine : 1.0);
        bins_[a] = std::int64_t(std::max(1.0, std::min(std::floor(wanted), std::floor(most / bins))));
        bins *= double(bins_[a]);
        per_unit_[a] = double(bins_[a]) / (1.0 + 2.0 * reach_[a]);
    }
    unsorted_.clear();
    for (std::int64_t i = 0; i < n; ++i) {
        const double *f = fractional_.data() + 3 * i, *home = home_.data() + 3 * i;
        std::int32_t low[3], high[3];
        for (int a = 0; a < 3; ++a) {
            low[a] = std::int32_t(std::ceil(-reach_[a] - f[a]));
            high[a] = std::int32_t(std::floor(1.0 + reach_[a] - f[a]));
        }
        for (std::int32_t s = low[0]; s <= high[0]; ++s)
            for (std::int32_t t = low[1]; t <= high[1]; ++t) {
                const std::int64_t row = (bin(0, f[0] + s) * bins_[1] + bin(1, f[1] + t)) * bins_[2];
                double from[3];
                for (int x = 0; x < 3; ++x) from[x] = home[x] + (s * cell_[0][x] + t * cell_[1][x]);
                for (std::int32_t u = low[2]; u <= high[2]; ++u) {
                    const double *c = cell_[2], at[3] = {from[0] + u * c[0], from[1] + u * c[1], from[2] + u * c[2]};
                    unsorted_.push_back({{std::int32_t(i), {s, t, u}}, std::int32_t(row + bin(2, f[2] + u)), {at[0], at[1], at[2]}});
                }
            }
    }
}

// A rising function of the coordinate, so that what lies between two coordinates lies between their bins.
std::int64_t NeighbourSearch::bin(int axis, double fractional) const {
    const auto k = std::int64_t((fractional + reach_[axis]) * per_unit_[axis]);
    return std::max<std::int64_t>(0, std::min(k, bins_[axis] - 1));
}

void NeighbourSearch::sort_images() {
    const std::size_t n = unsorted_.size();
    bin_begin_.assign(bins_[0] * bins_[1] * bins_[2] + 1, 0);
    for (const Unsorted& one : unsorted_) ++bin_begin_[one.bin + 1];
    std::partial_sum(bin_begin_.begin(), bin_begin_.end(), bin_begin_.begin());
    sorted_.resize(n);
    x_.resize(n);
    y_.resize(n);
    z_.resize(n);
    distance2_.resize(n);
    hit_.resize(n + 1);
    home_image_.resize(fractional_.size() / 3);
    for (const Unsorted& one : unsorted_) {
        const std::int32_t to = bin_begin_[one.bin]++;
        const Image& image = sorted_[to] = one.image;
        x_[to] = one.at[0];
        y_[to] = one.at[1];
        z_[to] = one.at[2];
        if (!image.shift[0] && !image.shift[1] && !image.shift[2]) home_image_[image.atom] = to;
    }
    for (std::size_t b = bin_begin_.size() - 1; b > 0; --b) bin_begin_[b] = bin_begin_[b - 1];
    bin_begin_[0] = 0;
}

void NeighbourSearch::pairs_of(std::int64_t atom, std::int64_t offset, Pairs& out) {
    const double *f = fractional_.data() + 3 * atom, *from = home_.data() + 3 * atom;
    std::int64_t low[3], high[3], found = 0;
    for (int a = 0; a < 3; ++a) {
        low[a] = bin(a, f[a] - reach_[a]);
        high[a] = bin(a, f[a] + reach_[a]);
    }
    for (std::int64_t p = low[0]; p <= high[0]; ++p)
        for (std::int64_t q = low[1]; q <= high[1]; ++q) {
            const std::int32_t* begin = bin_begin_.data() + (p * bins_[1] + q) * bins_[2];
            found = within_run(begin[low[2]], begin[high[2] + 1], from, found);
        }
    std::int32_t* neighbour = out.neighbour.room(found);
    double* vector = out.vector.room(3 * found);
    std::int32_t* shift = images_ ? out.image.room(3 * found) : nullptr;
    const std::int32_t self = home_image_[atom], *mine = wrapped_.data() + 3 * atom;
    std::int64_t pairs = 0;
    for (std::int64_t h = 0; h < found; ++h) {
        const std::int32_t k = hit_[h];
        if (k == self) continue;
        const double v[3] = {x_[k] - from[0], y_[k] - from[1], z_[k] - from[2]};
        const Image& image = sorted_[k];
        out.closest2 = std::min(out.closest2, dot(v, v));
        neighbour[pairs] = std::int32_t(image.atom + offset);
        for (int x = 0; x < 3; ++x) vector[3 * pairs + x] = v[x];
        if (shift)
            for (int a = 0; a < 3; ++a) shift[3 * pairs + a] = image.shift[a] - wrapped_[3 * std::int64_t(image.atom) + a] + mine[a];
        ++pairs;
    }
    out.neighbour.added(pairs);
    out.vector.added(3 * pairs);
    if (shift) out.image.added(3 * pairs);
    out.first.push_back(out.first.back() + pairs);
}

// Notes the images of a run that are closer than the cutoff. Without a branch: whether one is is a coin's toss.
std::int64_t NeighbourSearch::within_run(std::int64_t begin, std::int64_t end, const double* from, std::int64_t found) {
    const double *x = x_.data() + begin, *y = y_.data() + begin, *z = z_.data() + begin, cutoff2 = cutoff_ * cutoff_;
    const double fx = from[0], fy = from[1], fz = from[2];
    double* d2 = distance2_.data();
    const std::int64_t n = end - begin;
    for (std::int64_t k = 0; k < n; ++k) {
        const double dx = x[k] - fx, dy = y[k] - fy, dz = z[k] - fz;
        d2[k] = dx * dx + dy * dy + dz * dz;
    }
    std::int32_t* hit = hit_.data();
    for (std::int64_t k = 0; k < n; ++k) {
        hit[found] = std::int32_t(begin + k);
        found += d2[k] < cutoff2;
    }
    return found;
}

}  // namespace mmtp
