// One engine: the kernels for one instruction set. Defined before inclusion: MMTP_LANES, MMTP_ENGINE, MMTP_NAME.
#include <math.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "spec.hpp"

namespace mmtp {
namespace {

#include "simd.inl"

#include "evaluate.inl"

#include "gradient.inl"

// Slots handled at a time: as many as keep their monomials in the first cache.
inline bool wide(const Spec& s) { return int64_t(s.n_inner) * W * 8 * 4 <= 16 * 1024; }

template <int NPHI, int NPSI>
void evaluate_sized(const Spec& s, const Parameters& p, const Lanes& lanes, int64_t block, const State& state, double* work,
                    const Output& out) {
    if (wide(s))
        evaluate_block<NPHI, NPSI, 4>(s, p, lanes, block, state, work, out);
    else
        evaluate_block<NPHI, NPSI, 2>(s, p, lanes, block, state, work, out);
}

// The usual sizes are compiled with constant loop bounds.
void evaluate(const Spec& s, const Parameters& p, const Lanes& lanes, int64_t block, const State& state, double* work, const Output& out) {
    const auto chosen = s.n_phi != 8   ? evaluate_sized<0, 0>
                        : s.n_psi == 1 ? evaluate_sized<8, 1>
                        : s.n_psi == 2 ? evaluate_sized<8, 2>
                        : s.n_psi == 3 ? evaluate_sized<8, 3>
                                       : evaluate_sized<0, 0>;
    chosen(s, p, lanes, block, state, work, out);
}

void gradient(const Spec& s, const Parameters& p, const Lanes& lanes, int64_t block, const State& state, const Tangent& tangent,
              double* work, double* out) {
    const auto chosen = s.n_phi != 8   ? gradient_block<0, 0>
                        : s.n_psi == 1 ? gradient_block<8, 1>
                        : s.n_psi == 2 ? gradient_block<8, 2>
                        : s.n_psi == 3 ? gradient_block<8, 3>
                                       : gradient_block<0, 0>;
    chosen(s, p, lanes, block, state, tangent, work, out);
}

int64_t workspace_to_evaluate(const Spec& s, int most_slots) { return evaluate_workspace(s, most_slots); }
int64_t workspace_of_gradient(const Spec& s, int most_slots) { return gradient_workspace(s, most_slots); }

}  // namespace

const Engine MMTP_ENGINE = {MMTP_NAME, W, evaluate, gradient, workspace_to_evaluate, workspace_of_gradient};

}  // namespace mmtp
