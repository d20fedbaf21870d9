// Energy, forces, virial and dE/dm of a block of same-type atoms, one atom per SIMD lane.
//
// Compiled once per instruction set, with MMTP_LANES and MMTP_ENGINE defined. No standard-library templates here:
// a template instantiated with wider instructions must not be shared with the baseline.
#include <math.h>
#include <stdint.h>

#include "spec.hpp"

namespace mmtp {
namespace {

constexpr int W = MMTP_LANES;
typedef double V __attribute__((vector_size(8 * MMTP_LANES)));

constexpr int kMaxPhi = 24, kMaxPsi = 6, kMaxMu = 8;

inline V splat(double x) {
    V v;
    for (int l = 0; l < W; ++l) v[l] = x;
    return v;
}

inline V root(V x) {
    V v;
    for (int l = 0; l < W; ++l) v[l] = sqrt(x[l]);
    return v;
}

// T_n(x) and T_n'(x); beyond [-1, 1] the tangent at the end is followed when `extend` is set.
inline void chebyshev(V x, int n, bool extend, V* t, V* dt) {
    const V one = splat(1.0);
    V beyond = splat(0.0);
    if (extend) {
        const V low = -one;
        const V clamped = x > one ? one : (x < low ? low : x);
        beyond = x - clamped;
        x = clamped;
    }
    t[0] = one;
    dt[0] = splat(0.0);
    if (n > 1) {
        t[1] = x;
        dt[1] = one;
    }
    for (int k = 2; k < n; ++k) {
        t[k] = 2.0 * x * t[k - 1] - t[k - 2];
        dt[k] = 2.0 * t[k - 1] + 2.0 * x * dt[k - 1] - dt[k - 2];
    }
    if (extend)
        for (int k = 1; k < n; ++k) t[k] += dt[k] * beyond;
}

inline int stride(const Spec& s) { return 5 + 4 * s.n_mu; }

int64_t workspace(const Spec& s, int max_neighbours) {
    const int64_t fold = int64_t(s.n_types) * s.n_mu * s.n_psi * s.n_phi;
    const int64_t vectors = 2 * fold + 2 * int64_t(s.n_moments) + 2 * s.n_mono + int64_t(max_neighbours + 1) * s.n_types * stride(s);
    return vectors * W + W * 8 + int64_t(max_neighbours + 1) * s.n_types * W;
}

// psi_beta(m_i) folded into the radial coefficients: [tj][mu][gamma][zeta], and the derivative by m_i.
void fold(const Spec& s, const Parameters& p, int ti, const V* psi, const V* dpsi, V* c, V* dc) {
    const int64_t size = int64_t(s.n_types) * s.n_mu * s.n_psi * s.n_phi;
    for (int64_t k = 0; k < size; ++k) c[k] = dc[k] = splat(0.0);
    const double* q = p.radial + int64_t(ti) * s.n_types * s.n_mu * s.n_phi * s.n_pairs;
    for (int tm = 0; tm < s.n_types * s.n_mu; ++tm)
        for (int z = 0; z < s.n_phi; ++z)
            for (int b = 0; b < s.n_pairs; ++b, ++q) {
                const int64_t k = (int64_t(tm) * s.n_psi + s.pair_gamma.data()[b]) * s.n_phi + z;
                c[k] += *q * psi[s.pair_beta.data()[b]];
                dc[k] += *q * dpsi[s.pair_beta.data()[b]];
            }
}

void evaluate(const Spec& s, const Parameters& p, const Geometry& g, const int32_t* atoms, int count, double* work,
              const Output& out) {
    const int ti = g.type[atoms[0]];
    const int64_t n_fold = int64_t(s.n_types) * s.n_mu * s.n_psi * s.n_phi;
    const uintptr_t raw = reinterpret_cast<uintptr_t>(work);
    V* cursor = reinterpret_cast<V*>((raw + sizeof(V) - 1) / sizeof(V) * sizeof(V));
    V* c = cursor;
    V* dc = c + n_fold;
    V* mom = dc + n_fold;
    V* adj = mom + s.n_moments;
    V* mono = adj + s.n_moments;
    V* madj = mono + s.n_mono;
    V* buffer = madj + s.n_mono;

    V mi = splat(0.0), psi_i[kMaxPsi], dpsi_i[kMaxPsi];
    for (int l = 0; l < W; ++l) mi[l] = g.moment[atoms[l < count ? l : 0]];
    const double scale_i = s.n_psi > 1 ? 1.0 / s.max_moment.data()[ti] : 0.0;
    chebyshev(mi * scale_i, s.n_psi, s.extend, psi_i, dpsi_i);
    for (int b = 0; b < s.n_psi; ++b) dpsi_i[b] *= scale_i;
    fold(s, p, ti, psi_i, dpsi_i, c, dc);

    for (int k = 0; k < s.n_moments; ++k) mom[k] = splat(0.0);
    const int step = stride(s);
    const double slope = 2.0 / (s.cutoff - s.r_min), shift = (s.cutoff + s.r_min) / (s.cutoff - s.r_min);
    const int32_t* parent = s.mono_parent.data();
    const int32_t* axis = s.mono_axis.data();
    const int32_t* bmu = s.basic_mu.data();
    const int32_t* bmono = s.basic_mono.data();

    // Neighbours type by type, so that one coefficient table serves all lanes; short lanes are padded beyond the cutoff.
    int total = 0;
    int64_t at[W];
    int max_n = 0;
    for (int l = 0; l < count; ++l) {
        const int n = int(g.first[atoms[l] + 1] - g.first[atoms[l]]);
        if (n > max_n) max_n = n;
    }
    int32_t* pairs = reinterpret_cast<int32_t*>(buffer + int64_t(max_n + 1) * s.n_types * step);
    const V zero = splat(0.0);
    for (int tj = 0; tj < s.n_types; ++tj) {
        const double scale_j = s.n_psi > 1 ? 1.0 / s.max_moment.data()[tj] : 0.0;
        for (int l = 0; l < W; ++l) at[l] = l < count ? g.first[atoms[l]] : 0;
        for (;;) {
            bool any = false;
            V x = splat(0.0), y = splat(0.0), z = splat(2.0 * s.cutoff), mj = splat(0.0);
            int32_t* index = pairs + int64_t(total) * W;
            for (int l = 0; l < W; ++l) {
                index[l] = -1;
                if (l >= count) continue;
                const int64_t end = g.first[atoms[l] + 1];
                while (at[l] < end && g.type[g.neighbour[at[l]]] != tj) ++at[l];
                if (at[l] == end) continue;
                const double* r = g.vector + 3 * at[l];
                x[l] = r[0];
                y[l] = r[1];
                z[l] = r[2];
                mj[l] = g.moment[g.neighbour[at[l]]];
                index[l] = g.neighbour[at[l]];
                ++at[l];
                any = true;
            }
            if (!any) break;
            V* rec = buffer + int64_t(total) * step;
            ++total;
            const V d = root(x * x + y * y + z * z);
            const V inverse = 1.0 / d;
            V u[3] = {x * inverse, y * inverse, z * inverse};
            V t = s.cutoff - d;
            t = t > zero ? t : zero;
            const V fc = t * t, dfc = -2.0 * t;
            V phi[kMaxPhi], dphi[kMaxPhi], psi[kMaxPsi], dpsi[kMaxPsi];
            const V reach = d < s.cutoff ? d : splat(s.cutoff);
            chebyshev(reach * slope - shift, s.n_phi, s.extend, phi, dphi);
            chebyshev(mj * scale_j, s.n_psi, s.extend, psi, dpsi);
            rec[0] = u[0];
            rec[1] = u[1];
            rec[2] = u[2];
            rec[3] = inverse;
            rec[4] = d;
            for (int mu = 0; mu < s.n_mu; ++mu) {
                const int64_t row = (int64_t(tj) * s.n_mu + mu) * s.n_psi * s.n_phi;
                V f = zero, df = zero, fj = zero, fi = zero;
                for (int b = 0; b < s.n_psi; ++b) {
                    const V* cc = c + row + b * s.n_phi;
                    const V* dd = dc + row + b * s.n_phi;
                    V r = zero, dr = zero, ri = zero;
                    for (int q = 0; q < s.n_phi; ++q) {
                        r += cc[q] * phi[q];
                        dr += cc[q] * dphi[q];
                        ri += dd[q] * phi[q];
                    }
                    f += psi[b] * r;
                    df += psi[b] * dr;
                    fj += dpsi[b] * r;
                    fi += psi[b] * ri;
                }
                rec[5 + 4 * mu] = f * fc;
                rec[6 + 4 * mu] = df * slope * fc + f * dfc;
                rec[7 + 4 * mu] = fj * scale_j * fc;
                rec[8 + 4 * mu] = fi * fc;
            }
            mono[0] = splat(1.0);
            for (int k = 1; k < s.n_mono; ++k) mono[k] = mono[parent[k]] * u[axis[k]];
            for (int k = 0; k < s.n_basic; ++k) mom[k] += rec[5 + 4 * bmu[k]] * mono[bmono[k]];
        }
    }

    const Times* times = s.times.data();
    const int64_t n_times = int64_t(s.times.size());
    for (int64_t k = 0; k < n_times; ++k) mom[times[k].out] += times[k].mult * mom[times[k].left] * mom[times[k].right];
    for (int k = 0; k < s.n_moments; ++k) adj[k] = zero;
    V energy = splat(p.species[ti]);
    for (int a = 0; a < s.n_scalar; ++a) {
        const int k = s.scalar.data()[a];
        energy += p.linear[a] * mom[k];
        adj[k] += splat(p.linear[a]);
    }
    for (int l = 0; l < count; ++l) out.energy[atoms[l]] = energy[l];
    if (out.basis)
        for (int l = 0; l < count; ++l)
            for (int a = 0; a < s.n_scalar; ++a)
                out.basis[int64_t(atoms[l]) * s.n_scalar + a] = mom[s.scalar.data()[a]][l];
    if (!out.gradient) return;
    for (int64_t k = n_times - 1; k >= 0; --k) {
        const V w = times[k].mult * adj[times[k].out];
        const V left = mom[times[k].left];
        adj[times[k].left] += w * mom[times[k].right];
        adj[times[k].right] += w * left;
    }

    V gi[3] = {zero, zero, zero}, gm = zero, vir[6] = {zero, zero, zero, zero, zero, zero};
    for (int n = 0; n < total; ++n) {
        const V* rec = buffer + int64_t(n) * step;
        const V u[3] = {rec[0], rec[1], rec[2]};
        mono[0] = splat(1.0);
        for (int k = 1; k < s.n_mono; ++k) mono[k] = mono[parent[k]] * u[axis[k]];
        V pmu[kMaxMu];
        for (int mu = 0; mu < s.n_mu; ++mu) pmu[mu] = zero;
        for (int k = 0; k < s.n_mono; ++k) madj[k] = zero;
        for (int k = 0; k < s.n_basic; ++k) {
            const V a = adj[k];
            pmu[bmu[k]] += a * mono[bmono[k]];
            madj[bmono[k]] += a * rec[5 + 4 * bmu[k]];
        }
        V radial = zero, gmj = zero;
        for (int mu = 0; mu < s.n_mu; ++mu) {
            radial += pmu[mu] * rec[6 + 4 * mu];
            gmj += pmu[mu] * rec[7 + 4 * mu];
            gm += pmu[mu] * rec[8 + 4 * mu];
        }
        V gu[3] = {zero, zero, zero};
        for (int k = s.n_mono - 1; k > 0; --k) {
            gu[axis[k]] += madj[k] * mono[parent[k]];
            madj[parent[k]] += madj[k] * u[axis[k]];
        }
        const V along = u[0] * gu[0] + u[1] * gu[1] + u[2] * gu[2];
        V gr[3];
        for (int a = 0; a < 3; ++a) {
            gr[a] = radial * u[a] + (gu[a] - along * u[a]) * rec[3];
            gi[a] -= gr[a];
        }
        const V r[3] = {u[0] * rec[4], u[1] * rec[4], u[2] * rec[4]};
        for (int a = 0; a < 3; ++a) vir[a] += r[a] * gr[a];
        vir[3] += 0.5 * (r[1] * gr[2] + r[2] * gr[1]);
        vir[4] += 0.5 * (r[0] * gr[2] + r[2] * gr[0]);
        vir[5] += 0.5 * (r[0] * gr[1] + r[1] * gr[0]);
        const int32_t* index = pairs + int64_t(n) * W;
        for (int l = 0; l < count; ++l) {
            if (index[l] < 0) continue;
            double* target = out.gradient + 3 * int64_t(index[l]);
            for (int a = 0; a < 3; ++a) target[a] += gr[a][l];
            out.moment[index[l]] += gmj[l];
        }
    }
    for (int l = 0; l < count; ++l) {
        double* target = out.gradient + 3 * int64_t(atoms[l]);
        for (int a = 0; a < 3; ++a) target[a] += gi[a][l];
        out.moment[atoms[l]] += gm[l];
        double* stress = out.virial + 6 * int64_t(g.frame[atoms[l]]);
        for (int a = 0; a < 6; ++a) stress[a] += vir[a][l];
    }
}

}  // namespace

const Engine MMTP_ENGINE = {MMTP_NAME, W, evaluate, workspace};

}  // namespace mmtp
