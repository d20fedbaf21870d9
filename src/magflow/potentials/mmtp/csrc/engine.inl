// One engine: the kernels for one instruction set. Defined before inclusion: MMTP_LANES, MMTP_ENGINE, MMTP_NAME.
#include <math.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "spec.hpp"

namespace mmtp {
namespace {

#include "dual.inl"

#include "sphere.inl"

#include "simd.inl"

#include "evaluate.inl"

#include "gradient.inl"

#include "pairs.inl"

// The usual sizes are compiled with constant loop bounds.
template <typename T, bool M>
auto evaluate_of_size(const Spec& s) {
    return s.n_phi != 8   ? evaluate_block<T, 0, 0, M>
           : s.n_psi == 1 ? evaluate_block<T, 8, 1, M>
           : s.n_psi == 2 ? evaluate_block<T, 8, 2, M>
           : s.n_psi == 3 ? evaluate_block<T, 8, 3, M>
                          : evaluate_block<T, 0, 0, M>;
}

void evaluate(const Spec& s, const Parameters& p, const Lanes& lanes, int64_t block, const State& state, double* work, const Output& out) {
    const auto chosen = out.by_moment && s.n_psi > 1 ? evaluate_of_size<V, true>(s) : evaluate_of_size<V, false>(s);
    chosen(s, p, lanes, block, state, work, out);
}

void along(const Spec& s, const Parameters& p, const Lanes& lanes, int64_t block, const State& state, double* work, const Output& out) {
    evaluate_of_size<Dual, true>(s)(s, p, lanes, block, state, work, out);
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

}  // namespace

const Engine MMTP_ENGINE = {
    MMTP_NAME, W, evaluate, along, gradient, evaluate_workspace<V>, evaluate_workspace<Dual>, gradient_workspace, pairs};

}  // namespace mmtp
