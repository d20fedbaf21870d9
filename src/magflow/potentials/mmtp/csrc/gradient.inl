// Gradient by the parameters of L = sum_f w_f E_f + dE along a tangent (displacements, moments, strain), for one block.
// With w and the tangent weighted by residuals, L has the gradient of a weighted least-squares loss over energies,
// forces, stresses and magnetic forces: one sweep forward with the tangent, one back over the parameters.
// Included inside an anonymous namespace, after simd.inl.

// What is kept of one slot: u and its tangent, the tangent of d, then per mu f and its tangent, phi, dphi/dd, and per gamma
// fc psi and its tangent at fixed phi. Values lie beside their tangents, as a Dual has them.
struct TangentRecord {
    int radial, phi, dphi, psi, size;
    explicit TangentRecord(const Spec& s)
        : radial(7), phi(radial + 2 * s.n_mu), dphi(phi + s.n_phi), psi(dphi + s.n_phi), size(psi + 2 * s.n_psi) {}
};

inline int64_t gradient_workspace(const Spec& s, int most_slots) {
    const int64_t fold = int64_t(s.n_types) * s.n_mu * s.n_psi * s.n_phi;
    const int64_t kept = 4 * fold + 4 * int64_t(s.n_moments) + 2 * s.n_sum + 2 * kMostSlots * mono_size(s);
    return W * (kept + int64_t(most_slots) * (TangentRecord(s).size + 8));
}

template <int NPHI, int NPSI>
inline void tangent_record(const Spec& s, const TangentRecord& at, const Neighbour<V, NPHI, NPSI>& n, const V* dr, V dm, const V* c,
                           const V* dc, V* record) {
    const int n_phi = NPHI ? NPHI : s.n_phi, n_psi = NPSI ? NPSI : s.n_psi;
    const V dd = n.u[0] * dr[0] + n.u[1] * dr[1] + n.u[2] * dr[2];
    for (int a = 0; a < 3; ++a) {
        record[2 * a] = n.u[a];
        record[2 * a + 1] = (dr[a] - dd * n.u[a]) * n.inverse;
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

// Monomials of G slots.
template <int G>
inline void tangent_monomials(const Spec& s, const TangentRecord& at, const V* record, Dual (*u)[G], Dual (*mono)[G]) {
    for (int a = 0; a < 3; ++a)
        for (int g = 0; g < G; ++g) u[a][g] = {record[g * at.size + 2 * a], record[g * at.size + 2 * a + 1]};
    monomials<Dual, G>(s.most_reach, u, mono);
}

template <int G>
inline void add_tangent_slots(const Spec& s, const TangentRecord& at, const V* record, Dual (*mono)[G], Dual* sum) {
    Dual u[3][G], f[G];
    tangent_monomials<G>(s, at, record, u, mono);
    for (int mu = 0; mu < s.n_mu; ++mu) {
        for (int g = 0; g < G; ++g) {
            const V* r = record + g * at.size + at.radial + 2 * mu;
            f[g] = {r[0], r[1]};
        }
        add_sums<Dual, G>(s.reach.data()[mu], f, u, mono, sum + s.sum_begin.data()[mu]);
    }
}

// The coefficients' share of G slots. `adjoint`: of the tangents of the sums, and as its tangent that of their values.
template <int NPHI, int NPSI, int G>
inline void add_coefficients(const Spec& s, const TangentRecord& at, const V* record, Dual (*mono)[G], const Dual* adjoint, V* gc, V* gd) {
    const int n_phi = NPHI ? NPHI : s.n_phi, n_psi = NPSI ? NPSI : s.n_psi;
    Dual u[3][G], value[G];
    tangent_monomials<G>(s, at, record, u, mono);
    for (int mu = 0; mu < s.n_mu; ++mu) {
        polynomial<Dual, G>(s.reach.data()[mu], u, mono, adjoint + s.sum_begin.data()[mu], value);
        for (int y = 0; y < n_psi; ++y, gc += n_phi, gd += n_phi) {
            V by_phi[G], by_dphi[G], by_own[G];
            for (int g = 0; g < G; ++g) {
                const V* w = record + g * at.size + at.psi + 2 * y;
                by_own[g] = value[g].v * w[0];
                by_phi[g] = value[g].d * w[0] + value[g].v * w[1];
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
    Dual* moment = reinterpret_cast<Dual*>(gd + n_fold);
    Dual* adjoint = moment + s.n_moments;
    Dual* sum = adjoint + s.n_moments;
    Dual* mono = sum + s.n_sum;
    V* records = reinterpret_cast<V*>(mono + kMostSlots * mono_size(s));

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
    fold<V, NPHI, true>(s, p, type, psi, dpsi, c, dc);

    const int64_t* begin = lanes.slot_begin + block * s.n_types;
    const Radial radial(s);
    Neighbour<V, NPHI, NPSI> n;
    const int total = int(begin[s.n_types] - begin[0]);
    V* where = records + int64_t(total) * at.size;
    V* change = where + 4 * int64_t(total);
    gather(s, state, lanes.pair + begin[0] * W, lanes.neighbour + begin[0] * W, total, where);
    gather_tangents(lanes.neighbour + begin[0] * W, total, tangent.atom, change);
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
    for (int k = 0; k < s.n_sum; ++k) sum[k] = Dual{};
    int done = 0;
    for (; done + G <= total; done += G) add_tangent_slots<G>(s, at, records + done * at.size, reinterpret_cast<Dual(*)[G]>(mono), sum);
    for (; done < total; ++done) add_tangent_slots<1>(s, at, records + done * at.size, reinterpret_cast<Dual(*)[1]>(mono), sum);
    contract(s, sum, moment);

    for (int k = 0; k < s.n_moments; ++k) adjoint[k] = Dual{};
    V* by_linear = reinterpret_cast<V*>(out) + s.n_radial();
    for (int k = 0; k < s.n_scalar; ++k) {
        const int m = s.scalar.data()[k];
        by_linear[k] += weight * moment[m].v + moment[m].d;
        adjoint[m] += {splat(p.linear[k]), weight * p.linear[k]};
    }
    V mask;
    for (int t = 0; t < s.n_types; ++t)
        if (lanes_of(type, t, mask)) by_linear[s.n_scalar + t] += mask * weight;
    contract_back(s, moment, adjoint, sum);
    for (int64_t k = 0; k < n_fold; ++k) gc[k] = gd[k] = V{};
    for (int tj = 0; tj < s.n_types; ++tj) {
        V *c_row = gc + tj * row_size, *d_row = gd + tj * row_size;
        int64_t k = begin[tj];
        for (; k + G <= begin[tj + 1]; k += G)
            add_coefficients<NPHI, NPSI, G>(s, at, records + (k - begin[0]) * at.size, reinterpret_cast<Dual(*)[G]>(mono), sum, c_row, d_row);
        for (; k < begin[tj + 1]; ++k)
            add_coefficients<NPHI, NPSI, 1>(s, at, records + (k - begin[0]) * at.size, reinterpret_cast<Dual(*)[1]>(mono), sum, c_row, d_row);
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
