// The shape of one mMTP: sizes, index tables and ranges. Plain data, shared by every instruction set.
#pragma once
#include <cstdint>
#include <vector>

namespace mmtp {

struct Times {
    std::int32_t left, right, out;
    double mult;
};

struct Spec {
    int n_types = 0;
    int n_mu = 0;       // radial functions
    int n_phi = 0;      // Chebyshev polynomials of the distance
    int n_psi = 0;      // Chebyshev polynomials of a moment
    int n_pairs = 0;    // products psi_beta(m_i) psi_gamma(m_j) in use
    int n_basic = 0;    // basic moments M_{mu,(a,b,c)}
    int n_mono = 0;     // distinct monomials (a,b,c), each the child of an earlier one
    int n_moments = 0;  // basic and derived moments
    int n_scalar = 0;   // basis functions B_alpha
    double cutoff = 0.0;
    double r_min = 0.0;
    bool extend = true;  // continue phi and psi linearly beyond their ranges
    std::vector<double> max_moment;
    std::vector<std::int32_t> pair_beta, pair_gamma;
    std::vector<std::int32_t> basic_mu, basic_mono;
    std::vector<std::int32_t> mono_parent, mono_axis, mono_rank;
    std::vector<Times> times;
    std::vector<std::int32_t> scalar;

    int n_col() const { return n_types * n_phi * n_psi; }
    int n_radial() const { return n_types * n_types * n_mu * n_phi * n_pairs; }
    int n_parameters() const { return n_radial() + n_scalar + n_types; }
};

struct Parameters {
    const double* radial;   // [type i][type j][mu][zeta][pair]
    const double* linear;   // [alpha]
    const double* species;  // [type]
};

// Neighbours of atom i are first[i] .. first[i + 1].
struct Geometry {
    std::int64_t n_atoms = 0, n_frames = 0;
    const std::int32_t* type = nullptr;
    const double* moment = nullptr;
    const std::int32_t* frame = nullptr;
    const std::int64_t* first = nullptr;
    const std::int32_t* neighbour = nullptr;
    const double* vector = nullptr;  // [pair][3], from atom to neighbour, A
};

struct Output {
    double* energy = nullptr;    // [atom]
    double* gradient = nullptr;  // [atom][3], dE/dr
    double* virial = nullptr;    // [frame][6], dE/d(strain), Voigt
    double* moment = nullptr;    // [atom], dE/dm
    double* basis = nullptr;     // [atom][alpha], or null
};

// One block of atoms of one type per call; see evaluate.inl.
using EvaluateFunction = void (*)(const Spec&, const Parameters&, const Geometry&, const std::int32_t* atoms, int count,
                                  double* workspace, const Output&);
using WorkspaceFunction = std::int64_t (*)(const Spec&, int max_neighbours);

struct Engine {
    const char* name;
    int lanes;
    EvaluateFunction evaluate;
    WorkspaceFunction workspace;
};

extern const Engine engine_baseline;
#ifdef MMTP_X86
extern const Engine engine_avx2;
extern const Engine engine_avx512;
#endif

}  // namespace mmtp
