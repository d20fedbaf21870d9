// The shape of one mMTP, the atoms it is evaluated on and what comes out. Plain data, shared by every instruction set.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace mmtp {

constexpr int kMaxPhi = 24, kMaxPsi = 6, kMaxMu = 8;

inline void require(bool ok, const char* what) {
    if (!ok) throw std::invalid_argument(what);
}

struct Times {
    std::int32_t left, right, out;
    double mult;
};

// How much of a sum over the neighbours is in a basic moment.
struct Share {
    std::int32_t basic, sum;
    double factor;
};

// Monomials x^a y^b with a + b < n.
constexpr int planar(int n) { return n * (n + 1) / 2; }

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
    std::vector<std::int32_t> of_gamma, gamma_begin;  // pairs by gamma
    std::vector<std::int32_t> basic_mu, basic_mono;
    std::vector<std::int32_t> mono_parent, mono_axis, mono_rank;
    int n_sum = 0;                        // sums over the neighbours, of which the basic moments are combinations; see sphere.inl
    std::vector<std::int32_t> reach;      // [mu] highest rank of its basic moments
    int most_reach = 0;                   // of all
    std::vector<std::int32_t> sum_begin;  // [mu] its first sum
    std::vector<Share> shares;
    std::vector<Times> times;  // in the order of `out`
    std::vector<std::int32_t> scalar;

    int n_col() const { return n_types * n_phi * n_psi; }
    int n_radial() const { return n_types * n_types * n_mu * n_phi * n_pairs; }
    int n_parameters() const { return n_radial() + n_scalar + n_types; }
};

// The tables of a potential as its file has them, row after row; see magflow.potentials.mmtp.basis.
struct Shape {
    int n_types, n_mu, n_phi, n_psi;
    double r_min, cutoff;
    bool extend;
    std::vector<double> max_moment;
    std::vector<std::int32_t> pairs;  // beta, gamma
    std::vector<std::int32_t> basic;  // mu, monomial
    std::vector<std::int32_t> mono;   // parent, axis, rank
    std::vector<std::int32_t> times;  // left, right, out
    std::vector<double> mult;
    std::vector<std::int32_t> scalar;
};

// Throws std::invalid_argument where the tables are not consistent.
Spec make_spec(const Shape&);

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

// One neighbour of an atom; image: number among the lattice vectors in use.
struct Listed {
    std::int32_t atom, image;
};

// Where atoms are and what is added to the neighbours' positions, in rows of four: x, y, z (A), moment; x, y, z, 0.
struct Places {
    const double *atom, *image;
};

// Blocks of `lanes` atoms, of one type where there are enough; a slot holds one neighbour of every atom of a block. See
// packing.hpp.
struct Lanes {
    int lanes = 0, n_types = 0;
    std::int64_t n_atoms = 0, n_frames = 0, n_blocks = 0, n_pairs = 0;
    int most_slots = 0;                        // of one block
    const std::int32_t* count = nullptr;       // [block] atoms; the other lanes repeat the first
    const std::int32_t* type = nullptr;        // [block][lane]
    const std::int32_t* atom = nullptr;        // [block][lane]
    const std::int32_t* frame = nullptr;       // [atom]
    const std::int64_t* slot_begin = nullptr;  // [block][type + 1] slots of neighbours of each type
    const std::int32_t* pair = nullptr;        // [slot][lane] index into the pairs, -1: empty
    const std::int32_t* neighbour = nullptr;   // [slot][lane] atom; the own one where the slot is empty
};

// Where the atoms are: everything that changes while the neighbours stay the same.
struct State {
    const double* vector = nullptr;  // [pair][3] A; null where there is `row`
    const double* moment = nullptr;  // [atom] muB
    double sign = 1.0;               // factor on every moment
    const double* tangent = nullptr;  // [atom][4] changes of positions and moment, where derivatives along them are wanted
    const double* row = nullptr;      // [pair][4] the vector and the neighbour's moment
};

struct Output {
    double* energy = nullptr;    // [atom]
    double* gradient = nullptr;  // [atom][4], dE/dr and dE/dm; null: energies only
    double* virial = nullptr;    // [frame][6], dE/d(strain), Voigt
    double* basis = nullptr;     // [atom][alpha], or null
    bool by_moment = true;       // false: dE/dm is not wanted, and zero is added to it
    bool put = false;            // dE/d(neighbour) is put where `neighbour` says, not added: every slot has a place of its own
};

// The functional whose gradient by the parameters is wanted: sum_f energy[f] E_f + dE along a tangent.
struct Tangent {
    const double* energy = nullptr;  // [frame]
    const double* atom = nullptr;    // [atom][4] of positions and moment
    const double* strain = nullptr;  // [frame][6]
};

// The work of one block, one atom per SIMD lane; see evaluate.inl and gradient.inl.
using EvaluateFunction = void (*)(const Spec&, const Parameters&, const Lanes&, std::int64_t block, const State&, double* workspace,
                                  const Output&);
using GradientFunction = void (*)(const Spec&, const Parameters&, const Lanes&, std::int64_t block, const State&, const Tangent&,
                                  double* workspace, double* sums);  // sums: [parameter][lane], added to
using WorkspaceFunction = std::int64_t (*)(const Spec&, int most_slots);

// Writes those of the listed neighbours of an atom that are closer than sqrt(distance2) from `row`, [pair][4], and `other`,
// [pair], on; what lies behind them is overwritten, one pair for each that is listed. Returns how many there are; lowers
// `closest2` to the smallest distance, A^2.
using PairsFunction = std::int64_t (*)(const Places&, std::int32_t atom, const Listed* begin, const Listed* end, double distance2, double* row,
                                       std::int32_t* other, double& closest2);

struct Engine {
    const char* name;
    int lanes;
    EvaluateFunction evaluate, along;  // `along`: the derivative along the state's tangent of all that `evaluate` gives
    GradientFunction gradient;
    WorkspaceFunction evaluate_workspace, along_workspace, gradient_workspace;  // doubles
    PairsFunction pairs;
};

extern const Engine engine_baseline;
#ifdef MMTP_X86
extern const Engine engine_avx2;
extern const Engine engine_avx512;
#endif

// Engines this processor can run, fastest first; an unknown name throws std::invalid_argument.
const std::vector<const Engine*>& engines();
const Engine& engine(const std::string& name);

}  // namespace mmtp
