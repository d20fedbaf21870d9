// Residual rows and their derivatives by every parameter, for Levenberg-Marquardt.
#pragma once
#include "spec.hpp"

namespace mmtp {

// Per atom, the moments are linear in the radial coefficients. Their coefficient-free parts ("primitives": monomial x
// neighbour type x zeta x gamma) and the primitives' derivatives along every row direction of the frame (positions,
// strain, moments) do not change during a fit, so they are computed once.
class Design {
  public:
    Design(const Spec& spec, const Geometry& geometry, std::vector<std::int64_t> frame_first, std::int64_t byte_limit);

    // Rows of one frame: E, dE/dr (3N), dE/d(strain) (6), dE/dm (N).
    std::int64_t rows(std::int64_t frame) const {
        const std::int64_t n = frame_first_[frame + 1] - frame_first_[frame];
        return 1 + 3 * n + 6 + n;
    }
    std::int64_t row_begin(std::int64_t frame) const { return row_begin_[frame]; }
    std::int64_t n_frames() const { return static_cast<std::int64_t>(frame_first_.size()) - 1; }
    bool stored() const { return stored_; }

    // values[row] and jacobian[row][parameter] of frames begin .. end, rows with weight 0 left at zero.
    void jacobian(const Parameters& p, std::int64_t begin, std::int64_t end, const double* weight, double* values,
                  double* jacobian) const;

  private:
    void primitives(std::int64_t atom, double* out) const;
    void atom_rows(std::int64_t atom, std::int64_t frame, const double* primitive, const Parameters& p, const double* weight,
                   double* values, double* jacobian, std::vector<double>& work) const;
    std::int64_t atom_size(std::int64_t frame) const { return rows(frame) * spec_.n_mono * spec_.n_col(); }

    Spec spec_;
    std::int64_t n_atoms_;
    std::vector<std::int32_t> type_, frame_, neighbour_;
    std::vector<double> moment_, vector_;
    std::vector<std::int64_t> first_, frame_first_, row_begin_, store_begin_;
    std::vector<double> store_;
    bool stored_;
};

}  // namespace mmtp
