// Gradient by the parameters of L = sum_f w_f E_f + dE along a tangent (displacements, moments, strain), for one block.
// With w and the tangent weighted by residuals, L has the gradient of a weighted least-squares loss over energies,
// forces, stresses and magnetic forces: one sweep forward with the tangent, one back over the parameters.
// Included inside an anonymous namespace, after simd.inl.

// What is kept of one slot: u, its tangent, the tangent of d, then per mu f and its tangent, phi, dphi/dd, and per gamma
// fc psi and its tangent at fixed phi.
struct TangentRecord {
    int radial, phi, dphi, psi, size;
    explicit TangentRecord(const Spec& s)
        : radial(7), phi(radial + 2 * s.n_mu), dphi(phi + s.n_phi), psi(dphi + s.n_phi), size(psi + 2 * s.n_psi) {}
};

inline int64_t gradient_workspace(const Spec& s, int most_slots) {
    const int64_t fold = int64_t(s.n_types) * s.n_mu * s.n_psi * s.n_phi;
    return W * (4 * fold + 4 * int64_t(s.n_moments) + 8 * int64_t(s.n_inner) + 8 * int64_t(s.slopes.size()) + int64_t(most_slots) * (TangentRecord(s).size + 8));
}

template <int NPHI, int NPSI>
inline void tangent_record(const Spec& s, const TangentRecord& at, const Neighbour<V, NPHI, NPSI>& n, const V* dr, V dm, const V* c,
                           const V* dc, V* record) {
    const int n_phi = NPHI ? NPHI : s.n_phi, n_psi = NPSI ? NPSI : s.n_psi;
    const V dd = n.u[0] * dr[0] + n.u[1] * dr[1] + n.u[2] * dr[2];
    for (int a = 0; a < 3; ++a) {
        record[a] = n.u[a];
        record[3 + a] = (dr[a] - dd * n.u[a]) * n.inverse;
    }
    record[6] = dd;
    for (int b = 0; b < n_psi; ++b) {
        record[at.psi + 2 * b] = n.fc * n.psi[b];
        record[at.psi + 2 * b + 1] = n.dfc * dd * n.psi[b] + n.fc * n.dpsi[b] * dm;
    }
    for (int q = 0; q < n_phi; ++q) {
        record[at.phi + q] = n.phi[q];
        record[at.dphi + q] = n.dphi[q];
    }
    V* out = record + at.radial;
    for (int mu = 0; mu < s.n_mu; ++mu, out += 2) {
        V f = V{}, df = V{};
        for (int b = 0; b < n_psi; ++b, c += n_phi, dc += n_phi) {
            V r = c[0] * n.phi[0], rd = c[0] * n.dphi[0], ri = dc[0] * n.phi[0];
#pragma GCC unroll 24
            for (int q = 1; q < n_phi; ++q) {
                r += c[q] * n.phi[q];
                rd += c[q] * n.dphi[q];
                ri += dc[q] * n.phi[q];
            }
            const V *w = record + at.psi + 2 * b;
            f += w[0] * r;
            df += w[1] * r + w[0] * (dd * rd + ri);
        }
        out[0] = f;
        out[1] = df;
    }
}

template <int G>
inline void add_tangent_moments(const Spec& s, const TangentRecord& at, const V* record, V (*mono)[G], V (*dmono)[G], V* moment, V* dmoment) {
    V u[3][G], du[3][G];
    for (int x = 0; x < 3; ++x)
        for (int g = 0; g < G; ++g) {
            u[x][g] = record[g * at.size + x];
            du[x][g] = record[g * at.size + 3 + x];
        }
    monomials<V, G>(s, u, mono);
    const int32_t *of = s.basic_mono.data(), *parent = s.mono_parent.data(), *axis = s.mono_axis.data();
    for (int g = 0; g < G; ++g) dmono[0][g] = V{};
    for (int k = 1; k < s.n_inner; ++k)
        for (int g = 0; g < G; ++g) dmono[k][g] = dmono[parent[k]][g] * u[axis[k]][g] + mono[parent[k]][g] * du[axis[k]][g];
    for (int mu = 0; mu < s.n_mu; ++mu) {
        V f[G], df[G], along[3][G], dalong[3][G];
        for (int g = 0; g < G; ++g) {
            f[g] = record[g * at.size + at.radial + 2 * mu];
            df[g] = record[g * at.size + at.radial + 2 * mu + 1];
            for (int x = 0; x < 3; ++x) {
                along[x][g] = f[g] * u[x][g];
                dalong[x][g] = df[g] * u[x][g] + f[g] * du[x][g];
            }
        }
        const int edge = s.edge_basic.data()[mu], end = s.basic_begin.data()[mu + 1];
        for (int k = s.basic_begin.data()[mu]; k < end; ++k) {
            const int from = k < edge ? of[k] : parent[of[k]];
            const V *m = mono[from], *dm = dmono[from];
            const V *w = k < edge ? f : along[axis[of[k]]], *dw = k < edge ? df : dalong[axis[of[k]]];
            V total = moment[k], dtotal = dmoment[k];
            for (int g = 0; g < G; ++g) {
                total += w[g] * m[g];
                dtotal += dw[g] * m[g] + w[g] * dm[g];
            }
            moment[k] = total;
            dmoment[k] = dtotal;
        }
    }
}

// The coefficients' share of G slots: `a` and `b` are the slope coefficients of the adjoints of the tangents and of the
// values of the moments.
template <int NPHI, int NPSI, int G>
inline void add_coefficients(const Spec& s, const TangentRecord& at, const V* record, V (*mono)[G], const V (*a)[4], const V (*b)[4], V* gc,
                             V* gd) {
    const int n_phi = NPHI ? NPHI : s.n_phi, n_psi = NPSI ? NPSI : s.n_psi;
    V u[3][G];
    for (int x = 0; x < 3; ++x)
        for (int g = 0; g < G; ++g) u[x][g] = record[g * at.size + x];
    monomials<V, G>(s, u, mono);
    for (int mu = 0; mu < s.n_mu; ++mu) {
        V p[G], q[G], slope[3][G];
        polynomial<V, G>(s, mu, u, mono, a, q, slope);
        for (int g = 0; g < G; ++g) {
            const V* r = record + g * at.size;
            p[g] = slope[0][g] * r[3] + slope[1][g] * r[4] + slope[2][g] * r[5];
        }
        for (int k = s.slope_begin.data()[mu]; k < s.leaf_begin.data()[mu]; ++k)
            for (int g = 0; g < G; ++g) p[g] += b[k][0] * mono[s.slopes.data()[k].mono][g];
        add_leaves<V, G>(s, mu, s.leaf_begin.data()[mu], u, mono, b, p);
        for (int y = 0; y < n_psi; ++y, gc += n_phi, gd += n_phi) {
            V by_phi[G], by_dphi[G], by_own[G];
            for (int g = 0; g < G; ++g) {
                const V* w = record + g * at.size + at.psi + 2 * y;
                by_own[g] = q[g] * w[0];
                by_phi[g] = p[g] * w[0] + q[g] * w[1];
                by_dphi[g] = by_own[g] * record[g * at.size + 6];
            }
            for (int z = 0; z < n_phi; ++z) {
                V c = gc[z], d = gd[z];
                for (int g = 0; g < G; ++g) {
                    const V* r = record + g * at.size;
                    c += by_phi[g] * r[at.phi + z] + by_dphi[g] * r[at.dphi + z];
                    d += by_own[g] * r[at.phi + z];
                }
                gc[z] = c;
                gd[z] = d;
            }
        }
    }
}

// `out` holds one number per parameter and lane: [parameter][lane].
template <int NPHI, int NPSI>
void gradient_block(const Spec& s, const Parameters& p, const Lanes& lanes, int64_t block, const State& state, const Tangent& tangent,
                    double* work, double* out) {
    constexpr int G = 2;
    const int count = lanes.count[block];
    const int32_t* type = lanes.type + block * W;
    const TangentRecord at(s);
    const int64_t n_fold = int64_t(s.n_types) * s.n_mu * s.n_psi * s.n_phi;
    const int64_t row_size = int64_t(s.n_mu) * s.n_psi * s.n_phi;
    const int32_t* atom = lanes.atom + block * W;
    V* c = reinterpret_cast<V*>(work);
    V* dc = c + n_fold;
    V* gc = dc + n_fold;
    V* gd = gc + n_fold;
    V* moment = gd + n_fold;
    V* dmoment = moment + s.n_moments;
    V* a = dmoment + s.n_moments;
    V* b = a + s.n_moments;
    V* mono = b + s.n_moments;
    V* dmono = mono + 4 * int64_t(s.n_inner);
    V(*a_slope)[4] = reinterpret_cast<V(*)[4]>(dmono + 4 * int64_t(s.n_inner));
    V(*b_slope)[4] = a_slope + s.slopes.size();
    V* records = reinterpret_cast<V*>(b_slope + s.slopes.size());

    V psi[kMaxPsi], dpsi[kMaxPsi], weight = V{}, ti_r[3], ti_m, strain[6];
    own_moments(s, lanes, state, block, psi, dpsi);
    for (int l = 0; l < W; ++l) {
        const double* v = tangent.atom + 4 * int64_t(atom[l]);
        for (int k = 0; k < 3; ++k) ti_r[k][l] = v[k];
        ti_m[l] = state.sign * v[3];
        const int64_t f = lanes.frame[atom[l]];
        for (int k = 0; k < 6; ++k) strain[k][l] = tangent.strain[6 * f + k];
        if (l < count) weight[l] = tangent.energy[f];
    }
    for (int k = 0; k < s.n_psi; ++k) dpsi[k] *= ti_m;  // tangents of psi_beta(m_i) from here on
    fold(s, p, type, psi, dpsi, c, dc);

    const int64_t* begin = lanes.slot_begin + block * s.n_types;
    const Radial radial(s);
    Neighbour<V, NPHI, NPSI> n;
    const int total = int(begin[s.n_types] - begin[0]);
    V* where = records + int64_t(total) * at.size;
    V* change = where + 4 * int64_t(total);
    gather(s, state, lanes.pair + begin[0] * W, lanes.neighbour + begin[0] * W, total, reinterpret_cast<double*>(where));
    gather_tangents(lanes.neighbour + begin[0] * W, total, tangent.atom, reinterpret_cast<double*>(change));
    V* record = records;
    for (int tj = 0; tj < s.n_types; ++tj) {
        const double scale = moment_scale(s, tj);
        for (int64_t k = begin[tj]; k < begin[tj + 1]; ++k, record += at.size, where += 4, change += 4) {
            n.load(s, radial, state, where, scale);
            const V* t = change;
            const V *e = strain, *r = n.r;
            const V dr[3] = {t[0] - ti_r[0] + e[0] * r[0] + 0.5 * (e[5] * r[1] + e[4] * r[2]),
                             t[1] - ti_r[1] + e[1] * r[1] + 0.5 * (e[5] * r[0] + e[3] * r[2]),
                             t[2] - ti_r[2] + e[2] * r[2] + 0.5 * (e[4] * r[0] + e[3] * r[1])};
            tangent_record<NPHI, NPSI>(s, at, n, dr, state.sign * t[3], c + tj * row_size, dc + tj * row_size, record);
        }
    }
    for (int k = 0; k < s.n_moments; ++k) moment[k] = dmoment[k] = V{};
    int done = 0;
    for (; done + G <= total; done += G)
        add_tangent_moments<G>(s, at, records + done * at.size, reinterpret_cast<V(*)[G]>(mono), reinterpret_cast<V(*)[G]>(dmono), moment,
                               dmoment);
    for (; done < total; ++done)
        add_tangent_moments<1>(s, at, records + done * at.size, reinterpret_cast<V(*)[1]>(mono), reinterpret_cast<V(*)[1]>(dmono), moment,
                               dmoment);

    const Times* times = s.times.data();
    const int64_t n_times = int64_t(s.times.size());
    for (int64_t k = 0; k < n_times; ++k) {
        const Times& t = times[k];
        moment[t.out] += t.mult * moment[t.left] * moment[t.right];
        dmoment[t.out] += t.mult * (dmoment[t.left] * moment[t.right] + moment[t.left] * dmoment[t.right]);
    }
    for (int k = 0; k < s.n_moments; ++k) a[k] = b[k] = V{};
    V* by_linear = reinterpret_cast<V*>(out) + s.n_radial();
    for (int k = 0; k < s.n_scalar; ++k) {
        const int m = s.scalar.data()[k];
        by_linear[k] += weight * moment[m] + dmoment[m];
        a[m] += p.linear[k];
        b[m] += weight * p.linear[k];
    }
    V mask;
    for (int t = 0; t < s.n_types; ++t)
        if (lanes_of(type, t, mask)) by_linear[s.n_scalar + t] += mask * weight;
    for (int64_t k = n_times - 1; k >= 0; --k) {
        const Times& t = times[k];
        const V wa = t.mult * a[t.out], wb = t.mult * b[t.out], left = moment[t.left], dleft = dmoment[t.left];
        a[t.left] += wa * moment[t.right];
        b[t.left] += wb * moment[t.right] + wa * dmoment[t.right];
        a[t.right] += wa * left;
        b[t.right] += wb * left + wa * dleft;
    }

    slope_coefficients(s, a, a_slope);
    slope_coefficients(s, b, b_slope);
    for (int64_t k = 0; k < n_fold; ++k) gc[k] = gd[k] = V{};
    for (int tj = 0; tj < s.n_types; ++tj) {
        V *c_row = gc + tj * row_size, *d_row = gd + tj * row_size;
        int64_t k = begin[tj];
        for (; k + G <= begin[tj + 1]; k += G)
            add_coefficients<NPHI, NPSI, G>(s, at, records + (k - begin[0]) * at.size, reinterpret_cast<V(*)[G]>(mono), a_slope,
                                            b_slope, c_row, d_row);
        for (; k < begin[tj + 1]; ++k)
            add_coefficients<NPHI, NPSI, 1>(s, at, records + (k - begin[0]) * at.size, reinterpret_cast<V(*)[1]>(mono), a_slope,
                                            b_slope, c_row, d_row);
    }
    const int32_t *beta = s.pair_beta.data(), *gamma = s.pair_gamma.data();
    for (int t = 0; t < s.n_types; ++t) {
        if (!lanes_of(type, t, mask)) continue;
        V* by_radial = reinterpret_cast<V*>(out) + int64_t(t) * s.n_types * s.n_mu * s.n_phi * s.n_pairs;
        for (int tm = 0; tm < s.n_types * s.n_mu; ++tm)
            for (int z = 0; z < s.n_phi; ++z)
                for (int y = 0; y < s.n_pairs; ++y, ++by_radial) {
                    const int64_t k = (int64_t(tm) * s.n_psi + gamma[y]) * s.n_phi + z;
                    *by_radial += mask * (psi[beta[y]] * gc[k] + dpsi[beta[y]] * gd[k]);
                }
    }
}
