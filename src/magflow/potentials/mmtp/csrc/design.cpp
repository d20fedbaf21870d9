#include "design.hpp"

#include <algorithm>
#include <cmath>

// Both hot functions are compiled for several instruction sets; the loader picks one.
#if defined(MMTP_X86) && defined(__GNUC__) && !defined(__clang__)
#define MMTP_CLONES __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define MMTP_CLONES
#endif
#define MMTP_INLINE inline __attribute__((always_inline))

namespace mmtp {
namespace {

void chebyshev(double x, int n, bool extend, double* t, double* dt) {
    double beyond = 0.0;
    if (extend) {
        const double clamped = std::min(1.0, std::max(-1.0, x));
        beyond = x - clamped;
        x = clamped;
    }
    t[0] = 1.0;
    dt[0] = 0.0;
    if (n > 1) {
        t[1] = x;
        dt[1] = 1.0;
    }
    for (int k = 2; k < n; ++k) {
        t[k] = 2.0 * x * t[k - 1] - t[k - 2];
        dt[k] = 2.0 * t[k - 1] + 2.0 * x * dt[k - 1] - dt[k - 2];
    }
    for (int k = 1; k < n; ++k) t[k] += dt[k] * beyond;
}

MMTP_INLINE void axpy(int n, double a, const double* __restrict x, double* __restrict y) {
    for (int k = 0; k < n; ++k) y[k] += a * x[k];
}

MMTP_INLINE double dot(int n, const double* x, const double* y) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int k = 0; k < n; ++k) sum += x[k] * y[k];
    return sum;
}

}  // namespace

Design::Design(const Spec& spec, const Geometry& g, std::vector<std::int64_t> frame_first, std::int64_t byte_limit)
    : spec_(spec), n_atoms_(g.n_atoms), frame_first_(std::move(frame_first)) {
    type_.assign(g.type, g.type + g.n_atoms);
    frame_.assign(g.frame, g.frame + g.n_atoms);
    moment_.assign(g.moment, g.moment + g.n_atoms);
    first_.assign(g.first, g.first + g.n_atoms + 1);
    const std::int64_t pairs = first_[g.n_atoms];
    neighbour_.assign(g.neighbour, g.neighbour + pairs);
    vector_.assign(g.vector, g.vector + 3 * pairs);
    row_begin_.assign(n_frames() + 1, 0);
    for (std::int64_t f = 0; f < n_frames(); ++f) row_begin_[f + 1] = row_begin_[f] + rows(f);
    store_begin_.assign(n_atoms_ + 1, 0);
    for (std::int64_t i = 0; i < n_atoms_; ++i) store_begin_[i + 1] = store_begin_[i] + atom_size(frame_[i]);
    stored_ = store_begin_[n_atoms_] * std::int64_t(sizeof(double)) <= byte_limit;
    if (!stored_) return;
    store_.resize(store_begin_[n_atoms_]);
    for (std::int64_t i = 0; i < n_atoms_; ++i) primitives(i, store_.data() + store_begin_[i]);
}

// out[direction][mono][tj][zeta][gamma]; direction 0 holds the primitives themselves.
MMTP_CLONES void Design::primitives(std::int64_t i, double* out) const {
    const Spec& s = spec_;
    const int nq = s.n_phi * s.n_psi;
    const std::int64_t plane = std::int64_t(s.n_mono) * s.n_col();
    const std::int64_t f = frame_[i], base = frame_first_[f], n = frame_first_[f + 1] - base;
    std::fill(out, out + atom_size(f), 0.0);
    const std::int64_t strain = 1 + 3 * n, moments = strain + 6;
    std::vector<double> phi(s.n_phi), dphi(s.n_phi), psi(s.n_psi), dpsi(s.n_psi), q(nq), dq(nq), qm(nq);
    std::vector<double> mono(s.n_mono), du(3 * s.n_mono), ga(3 * nq);
    const double slope = 2.0 / (s.cutoff - s.r_min), shift = (s.cutoff + s.r_min) / (s.cutoff - s.r_min);
    for (std::int64_t at = first_[i]; at < first_[i + 1]; ++at) {
        const double* r = &vector_[3 * at];
        const double d = std::sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
        if (d >= s.cutoff) continue;
        const std::int64_t j = neighbour_[at];
        const int tj = type_[j];
        const double u[3] = {r[0] / d, r[1] / d, r[2] / d};
        const double t = s.cutoff - d, fc = t * t, dfc = -2.0 * t;
        const double scale = s.n_psi > 1 ? 1.0 / s.max_moment[tj] : 0.0;
        chebyshev(d * slope - shift, s.n_phi, s.extend, phi.data(), dphi.data());
        chebyshev(moment_[j] * scale, s.n_psi, s.extend, psi.data(), dpsi.data());
        for (int z = 0; z < s.n_phi; ++z)
            for (int g = 0; g < s.n_psi; ++g) {
                q[z * s.n_psi + g] = fc * phi[z] * psi[g];
                dq[z * s.n_psi + g] = (dfc * phi[z] + fc * slope * dphi[z]) * psi[g];
                qm[z * s.n_psi + g] = fc * phi[z] * dpsi[g] * scale;
            }
        mono[0] = 1.0;
        std::fill(du.begin(), du.end(), 0.0);
        for (int k = 1; k < s.n_mono; ++k) {
            const int parent = s.mono_parent[k], axis = s.mono_axis[k];
            mono[k] = mono[parent] * u[axis];
            for (int a = 0; a < 3; ++a) du[3 * k + a] = du[3 * parent + a] * u[axis];
            du[3 * k + axis] += mono[parent];
        }
        for (int k = 0; k < s.n_mono; ++k) {
            const std::int64_t at_k = std::int64_t(k) * s.n_col() + std::int64_t(tj) * nq;
            axpy(nq, mono[k], q.data(), out + at_k);
            axpy(nq, mono[k], qm.data(), out + (moments + j - base) * plane + at_k);
            for (int a = 0; a < 3; ++a) {
                const double tangential = (du[3 * k + a] - s.mono_rank[k] * u[a] * mono[k]) / d;
                double* g = &ga[a * nq];
                for (int c = 0; c < nq; ++c) g[c] = u[a] * mono[k] * dq[c] + tangential * q[c];
                if (j != i) {
                    axpy(nq, 1.0, g, out + (1 + 3 * (j - base) + a) * plane + at_k);
                    axpy(nq, -1.0, g, out + (1 + 3 * (i - base) + a) * plane + at_k);
                }
                axpy(nq, r[a], g, out + (strain + a) * plane + at_k);
            }
            static constexpr int kA[3] = {1, 0, 0}, kB[3] = {2, 2, 1};
            for (int v = 0; v < 3; ++v) {
                double* row = out + (strain + 3 + v) * plane + at_k;
                axpy(nq, 0.5 * r[kB[v]], &ga[kA[v] * nq], row);
                axpy(nq, 0.5 * r[kA[v]], &ga[kB[v] * nq], row);
            }
        }
    }
}

MMTP_CLONES void Design::atom_rows(std::int64_t i, std::int64_t f, const double* primitive, const Parameters& p, const double* weight,
                       double* values, double* jacobian, std::vector<double>& work) const {
    const Spec& s = spec_;
    const int nq = s.n_phi * s.n_psi, ncol = s.n_col(), ti = type_[i];
    const std::int64_t plane = std::int64_t(s.n_mono) * ncol, n_rows = rows(f), n_par = s.n_parameters();
    const std::int64_t own = 1 + 3 * (frame_first_[f + 1] - frame_first_[f]) + 6 + (i - frame_first_[f]);
    const std::int64_t block = std::int64_t(s.n_types) * s.n_mu * s.n_phi * s.n_pairs;
    std::vector<double> psi(s.n_psi), dpsi(s.n_psi);
    const double scale = s.n_psi > 1 ? 1.0 / s.max_moment[ti] : 0.0;
    chebyshev(moment_[i] * scale, s.n_psi, s.extend, psi.data(), dpsi.data());
    for (double& x : dpsi) x *= scale;

    work.assign(2 * std::int64_t(s.n_mu) * ncol + 4 * s.n_moments + std::int64_t(s.n_mu) * ncol * 2, 0.0);
    double* c = work.data();          // [mu][tj][zeta][gamma]
    double* dc = c + s.n_mu * ncol;
    double* mom = dc + s.n_mu * ncol;
    double* adj = mom + s.n_moments;
    double* dmom = adj + s.n_moments;
    double* dadj = dmom + s.n_moments;
    double* w = dadj + s.n_moments;
    double* wi = w + s.n_mu * ncol;
    const double* q = p.radial + ti * block;
    for (int tj = 0; tj < s.n_types; ++tj)
        for (int mu = 0; mu < s.n_mu; ++mu)
            for (int z = 0; z < s.n_phi; ++z)
                for (int b = 0; b < s.n_pairs; ++b, ++q) {
                    const int k = mu * ncol + tj * nq + z * s.n_psi + s.pair_gamma[b];
                    c[k] += *q * psi[s.pair_beta[b]];
                    dc[k] += *q * dpsi[s.pair_beta[b]];
                }
    for (int k = 0; k < s.n_basic; ++k)
        mom[k] = dot(ncol, c + s.basic_mu[k] * ncol, primitive + std::int64_t(s.basic_mono[k]) * ncol);
    for (const Times& t : s.times) mom[t.out] += t.mult * mom[t.left] * mom[t.right];
    double energy = p.species[ti];
    for (int a = 0; a < s.n_scalar; ++a) {
        energy += p.linear[a] * mom[s.scalar[a]];
        adj[s.scalar[a]] += p.linear[a];
    }
    for (auto t = s.times.rbegin(); t != s.times.rend(); ++t) {
        adj[t->left] += t->mult * adj[t->out] * mom[t->right];
        adj[t->right] += t->mult * adj[t->out] * mom[t->left];
    }
    values[0] += energy;

    for (std::int64_t x = 0; x < n_rows; ++x) {
        if (weight[x] == 0.0) continue;
        const double* tangent = primitive + x * plane;
        double* row = jacobian ? jacobian + x * n_par : nullptr;
        std::fill(dmom, dmom + 2 * s.n_moments, 0.0);
        if (x > 0) {
            for (int k = 0; k < s.n_basic; ++k) {
                dmom[k] = dot(ncol, c + s.basic_mu[k] * ncol, tangent + std::int64_t(s.basic_mono[k]) * ncol);
                if (x == own)
                    dmom[k] += dot(ncol, dc + s.basic_mu[k] * ncol, primitive + std::int64_t(s.basic_mono[k]) * ncol);
            }
            double value = 0.0;
            for (int k = 0; k < s.n_basic; ++k) value += adj[k] * dmom[k];
            values[x] += value;
        }
        if (!row) continue;
        if (x > 0) {
            for (const Times& t : s.times)
                dmom[t.out] += t.mult * (dmom[t.left] * mom[t.right] + mom[t.left] * dmom[t.right]);
            for (auto t = s.times.rbegin(); t != s.times.rend(); ++t) {
                const double a = t->mult * adj[t->out], da = t->mult * dadj[t->out];
                dadj[t->left] += da * mom[t->right] + a * dmom[t->right];
                dadj[t->right] += da * mom[t->left] + a * dmom[t->left];
            }
        }
        // d(row)/d(radial): adjoint times primitive, and its derivative along the direction
        std::fill(w, w + 2 * s.n_mu * ncol, 0.0);
        for (int k = 0; k < s.n_basic; ++k) {
            const double* a0 = primitive + std::int64_t(s.basic_mono[k]) * ncol;
            double* target = w + s.basic_mu[k] * ncol;
            if (x == 0) {
                axpy(ncol, adj[k], a0, target);
                continue;
            }
            axpy(ncol, dadj[k], a0, target);
            axpy(ncol, adj[k], tangent + std::int64_t(s.basic_mono[k]) * ncol, target);
            if (x == own) axpy(ncol, adj[k], a0, wi + s.basic_mu[k] * ncol);
        }
        double* target = row + ti * block;
        for (int tj = 0; tj < s.n_types; ++tj)
            for (int mu = 0; mu < s.n_mu; ++mu)
                for (int z = 0; z < s.n_phi; ++z)
                    for (int b = 0; b < s.n_pairs; ++b, ++target) {
                        const int k = mu * ncol + tj * nq + z * s.n_psi + s.pair_gamma[b];
                        *target += weight[x] * (psi[s.pair_beta[b]] * w[k] + dpsi[s.pair_beta[b]] * wi[k]);
                    }
        double* linear = row + s.n_radial();
        const double* from = x == 0 ? mom : dmom;
        for (int a = 0; a < s.n_scalar; ++a) linear[a] += weight[x] * from[s.scalar[a]];
        if (x == 0) linear[s.n_scalar + ti] += weight[x];
    }
}

void Design::jacobian(const Parameters& p, std::int64_t begin, std::int64_t end, const double* weight, double* values,
                      double* jac) const {
    const std::int64_t row0 = row_begin_[begin], n_par = spec_.n_parameters();
    std::fill(values, values + (row_begin_[end] - row0), 0.0);
    if (jac) std::fill(jac, jac + (row_begin_[end] - row0) * n_par, 0.0);
    std::vector<double> work, scratch;
    for (std::int64_t f = begin; f < end; ++f) {
        const std::int64_t row = row_begin_[f] - row0;
        for (std::int64_t i = frame_first_[f]; i < frame_first_[f + 1]; ++i) {
            const double* primitive = nullptr;
            if (stored_) {
                primitive = store_.data() + store_begin_[i];
            } else {
                scratch.resize(atom_size(f));
                primitives(i, scratch.data());
                primitive = scratch.data();
            }
            atom_rows(i, f, primitive, p, weight + row, values + row, jac ? jac + row * n_par : nullptr, work);
        }
    }
}

}  // namespace mmtp
