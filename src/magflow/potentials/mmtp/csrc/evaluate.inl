// Energy, forces, virial and dE/dm of one block of atoms; with T = Dual their derivatives along the state's tangent.
// Included inside an anonymous namespace, after simd.inl.

// Derivatives by moments are left out unless M.

// What the sweep over the neighbours keeps of a slot per mu: f, df/dd, then df/dm_j, df/dm_i.
template <bool M>
constexpr int kPerMu = M ? 4 : 2;
// Before that: unit vector, 1/d, d.
template <bool M>
inline int record_size(const Spec& s) {
    return 5 + kPerMu<M> * s.n_mu;
}

// Slots handled at a time: as many as keep what is summed in registers.
constexpr int kMostSlots = 4;
template <typename T>
constexpr int kForward = has_tangent<T> ? 2 : 4;
template <typename T>
constexpr int kBack = (MMTP_LANES == 8 ? 4 : 2) / (has_tangent<T> ? 2 : 1);

inline int mono_size(const Spec& s) { return planar(s.most_reach) + 1; }

inline int slopes_size(const Spec& s) {
    int size = 0;
    for (int mu = 0; mu < s.n_mu; ++mu) size += slope_size(s.reach.data()[mu]);
    return size;
}

template <typename T>
inline int64_t evaluate_workspace(const Spec& s, int most_slots) {
    const int64_t fold = int64_t(s.n_types) * s.n_mu * s.n_psi * s.n_phi, slots = most_slots;
    const int64_t kept = 3 * fold + 2 * int64_t(s.n_moments) + s.n_sum + kMostSlots * mono_size(s) + slopes_size(s) + slots * record_size<true>(s);
    return W * (kept * int64_t(sizeof(T) / sizeof(V)) + 8 * slots);
}

// psi_beta(m_i) folded into the radial coefficients, [mu][gamma][zeta]: of f, of df/dd and of df/dm_i.
template <typename T>
struct Folded {
    const T *value, *by_distance, *by_own;
};

// Sums over zeta for one mu and every gamma.
template <typename T, int NPHI, int NPSI, bool M>
MMTP_INLINE void radial_sums(const Spec& s, const T* phi, const Folded<T>& c, T* r, T* dr, T* ri) {
    const int n_phi = NPHI ? NPHI : s.n_phi, n_psi = NPSI ? NPSI : s.n_psi;
    for (int b = 0; b < n_psi; ++b) {  // phi_0 = 1
        r[b] = c.value[b * n_phi];
        dr[b] = c.by_distance[b * n_phi];
        if (M) ri[b] = c.by_own[b * n_phi];
    }
#pragma GCC unroll 24
    for (int q = 1; q < n_phi; ++q)
#pragma GCC unroll 6
        for (int b = 0; b < n_psi; ++b) {
            r[b] += c.value[b * n_phi + q] * phi[q];
            if (q + 1 < n_phi) dr[b] += c.by_distance[b * n_phi + q] * phi[q];
            if (M) ri[b] += c.by_own[b * n_phi + q] * phi[q];
        }
}

// f_mu = fc sum_{gamma,zeta} c psi_gamma(m_j) phi_zeta(d) of one slot, and its derivatives.
template <typename T, int NPHI, int NPSI, bool M>
MMTP_INLINE void radial_record(const Spec& s, const Radial& radial, const Neighbour<T, NPHI, NPSI>& n, Folded<T> c, T* record) {
    const int n_phi = NPHI ? NPHI : s.n_phi, n_psi = NPSI ? NPSI : s.n_psi;
    T phi[NPHI ? NPHI : kMaxPhi];
    chebyshev(at_least(n.x, radial.least), n_phi, phi);
    record[0] = n.u[0];
    record[1] = n.u[1];
    record[2] = n.u[2];
    record[3] = n.inverse;
    record[4] = n.d;
    record += 5;
    for (int mu = 0; mu < s.n_mu; ++mu, record += kPerMu<M>) {
        T r[NPSI ? NPSI : kMaxPsi], dr[NPSI ? NPSI : kMaxPsi], ri[NPSI ? NPSI : kMaxPsi];
        radial_sums<T, NPHI, NPSI, M>(s, phi, c, r, dr, ri);
        T f = r[0], df = dr[0], fj = T{}, fi = M ? ri[0] : T{};  // psi_0 = 1
        for (int b = 1; b < n_psi; ++b) {
            f += n.psi[b] * r[b];
            df += n.psi[b] * dr[b];
            if (!M) continue;
            fj += n.dpsi[b] * r[b];
            fi += n.psi[b] * ri[b];
        }
        record[0] = f * n.fc;
        record[1] = df * n.fc + f * n.dfc;
        if (M) {
            record[2] = fj * n.fc;
            record[3] = fi * n.fc;
        }
        c.value += n_psi * n_phi;
        c.by_distance += n_psi * n_phi;
        c.by_own += n_psi * n_phi;
    }
}

// What the tangent below r_min adds to the record of a slot, zero in lanes that are not below: their numbers do not depend on
// the others'. Rare, and kept apart so that its needs do not fill the registers of the rest.
template <typename T, int NPHI, int NPSI, bool M>
__attribute__((noinline)) void add_below(const Spec& s, const Radial& radial, const State& state, T x, T y, T z, T m, double scale,
                                         const Folded<T>& of, T* record) {
    const int n_phi = NPHI ? NPHI : s.n_phi, n_psi = NPSI ? NPSI : s.n_psi;
    const T where[4] = {x, y, z, m};
    Neighbour<T, NPHI, NPSI> n;
    n.place(s, radial, state, where, scale);
    const T end = at_least(n.x, radial.least), below = n.x - end;
    chebyshev(end, n_phi, false, n.phi, n.dphi);
    const T *c = of.value, *dc = of.by_own;
    for (int mu = 0; mu < s.n_mu; ++mu, record += kPerMu<M>) {
        T f = T{}, fj = T{}, fi = T{};
        for (int b = 0; b < n_psi; ++b, c += n_phi, dc += n_phi) {
            T r = T{}, ri = T{};
            for (int q = 1; q < n_phi; ++q) {
                r += c[q] * n.dphi[q];
                if (M) ri += dc[q] * n.dphi[q];
            }
            f += n.psi[b] * (r * below);
            if (!M) continue;
            fj += n.dpsi[b] * (r * below);
            fi += n.psi[b] * (ri * below);
        }
        record[5] += f * n.fc;
        record[6] += f * n.dfc;
        if (!M) continue;
        record[7] += fj * n.fc;
        record[8] += fi * n.fc;
    }
}

// The sums over the neighbours, G slots at a time.
template <typename T, int G, bool M>
inline void add_slots(const Spec& s, const T* record, int step, T (*mono)[G], T* sum) {
    T u[3][G], f[G];
    for (int a = 0; a < 3; ++a)
        for (int g = 0; g < G; ++g) u[a][g] = record[g * step + a];
    monomials<T, G>(s.most_reach, u, mono);
    for (int mu = 0; mu < s.n_mu; ++mu) {
        for (int g = 0; g < G; ++g) f[g] = record[g * step + 5 + kPerMu<M> * mu];
        add_sums<T, G>(s.reach.data()[mu], f, u, mono, sum + s.sum_begin.data()[mu]);
    }
}

struct Sums {
    V gradient[3], moment, virial[6];  // virial: yz, xz and xy twice
};

// dE/dr_ij, dE/dm_j and dE/dm_i of G slots from the adjoints of the sums.
template <typename T, int G, bool M>
inline void add_gradients(const Spec& s, const T* record, int step, T (*mono)[G], const T* slope_of, const int32_t* neighbour,
                          const Output& out, Sums& sums) {
    T u[3][G], radial[G], by_j[G], gu[3][G];
    for (int a = 0; a < 3; ++a)
        for (int g = 0; g < G; ++g) u[a][g] = record[g * step + a];
    monomials<T, G>(s.most_reach, u, mono);
    for (int g = 0; g < G; ++g) radial[g] = by_j[g] = gu[0][g] = gu[1][g] = gu[2][g] = T{};
    for (int mu = 0; mu < s.n_mu; ++mu) {
        const int reach = s.reach.data()[mu];
        T p[G], slope[3][G];
        if (reach) {
            polynomial<T, G>(reach, u, mono, slope_of, p, slope);
            for (int a = 0; a < 3; ++a)
                for (int g = 0; g < G; ++g) gu[a][g] += record[g * step + 5 + kPerMu<M> * mu] * slope[a][g];
        } else {
            for (int g = 0; g < G; ++g) p[g] = slope_of[0];
        }
        slope_of += slope_size(reach);
        for (int g = 0; g < G; ++g) {
            const T* r = record + g * step + 5 + kPerMu<M> * mu;
            radial[g] += p[g] * r[1];
            if (!M) continue;
            by_j[g] += p[g] * r[2];
            sums.moment += told(p[g] * r[3]);
        }
    }
    for (int g = 0; g < G; ++g) {
        const T* r = record + g * step;
        const T along = u[0][g] * gu[0][g] + u[1][g] * gu[1][g] + u[2][g] * gu[2][g];
        T e[3], x[3];
        for (int a = 0; a < 3; ++a) {
            e[a] = radial[g] * u[a][g] + (gu[a][g] - along * u[a][g]) * r[3];
            sums.gradient[a] -= told(e[a]);
            x[a] = u[a][g] * r[4];
        }
        for (int a = 0; a < 3; ++a) sums.virial[a] += told(x[a] * e[a]);
        sums.virial[3] += told(x[1] * e[2] + x[2] * e[1]);
        sums.virial[4] += told(x[0] * e[2] + x[2] * e[0]);
        sums.virial[5] += told(x[0] * e[1] + x[1] * e[0]);
        scatter(told(e[0]), told(e[1]), told(e[2]), told(by_j[g]), neighbour + g * W, out.gradient, out.put);
    }
}

template <typename T, int NPHI, int NPSI, bool M>
void evaluate_block(const Spec& s, const Parameters& p, const Lanes& lanes, int64_t block, const State& state, double* work,
                    const Output& out) {
    const int count = lanes.count[block], step = record_size<M>(s);
    const int32_t* type = lanes.type + block * W;
    const int64_t n_fold = int64_t(s.n_types) * s.n_mu * s.n_psi * s.n_phi;
    const int32_t* atom = lanes.atom + block * W;
    T* c = reinterpret_cast<T*>(work);
    T* slope_c = c + n_fold;
    T* dc = slope_c + n_fold;
    T* moment = dc + n_fold;
    T* adjoint = moment + s.n_moments;
    T* sum = adjoint + s.n_moments;
    T* mono = sum + s.n_sum;
    T* slope_of = mono + kMostSlots * mono_size(s);
    T* records = slope_of + slopes_size(s);

    T psi[kMaxPsi], dpsi[kMaxPsi];
    own_moments(s, lanes, state, block, psi, dpsi);
    fold<T, NPHI, M>(s, p, type, psi, dpsi, c, dc);
    const Radial radial(s);
    const int n_phi = NPHI ? NPHI : s.n_phi;
    for (int64_t k = 0; k < n_fold; k += n_phi) chebyshev_slope(c + k, n_phi, radial.slope, slope_c + k);

    const int64_t* begin = lanes.slot_begin + block * s.n_types;
    Neighbour<T, NPHI, NPSI> n;
    const int total = int(begin[s.n_types] - begin[0]);
    V* where = reinterpret_cast<V*>(records + int64_t(total) * step);
    V* change = where + 4 * int64_t(total);
    V own[4] = {};  // tangents of the atoms' positions; a moment's is no difference
    gather(s, state, lanes.pair + begin[0] * W, lanes.neighbour + begin[0] * W, total, where);
    if (has_tangent<T>) {
        gather_tangents(lanes.neighbour + begin[0] * W, total, state.tangent, change);
        for (int l = 0; l < W; ++l)
            for (int a = 0; a < 3; ++a) own[a][l] = state.tangent[4 * int64_t(atom[l]) + a];
    }
    T* record = records;
    for (int tj = 0; tj < s.n_types; ++tj) {
        const int64_t row = int64_t(tj) * s.n_mu * s.n_psi * s.n_phi;
        const double scale = moment_scale(s, tj);
        for (int64_t k = begin[tj]; k < begin[tj + 1]; ++k, record += step, where += 4, change += 4) {
            T there[4];
            for (int a = 0; a < 4; ++a) there[a] = moving<T>(where[a], change[a] - own[a]);
            n.place(s, radial, state, there, scale);
            const Folded<T> of = {c + row, slope_c + row, dc + row};
            radial_record<T, NPHI, NPSI, M>(s, radial, n, of, record);
            if (any_below(n.x, radial.least))
                add_below<T, NPHI, NPSI, M>(s, radial, state, there[0], there[1], there[2], there[3], scale, of, record);
        }
    }

    for (int k = 0; k < s.n_sum; ++k) sum[k] = T{};
    constexpr int F = kForward<T>, B = kBack<T>;
    int done = 0;
    for (; done + F <= total; done += F) add_slots<T, F, M>(s, records + done * step, step, reinterpret_cast<T(*)[F]>(mono), sum);
    for (; done < total; ++done) add_slots<T, 1, M>(s, records + done * step, step, reinterpret_cast<T(*)[1]>(mono), sum);
    contract(s, sum, moment);
    for (int k = 0; k < s.n_moments; ++k) adjoint[k] = T{};
    V alone;
    for (int l = 0; l < W; ++l) alone[l] = p.species[type[l]];
    T energy = moving<T>(alone, V{});
    for (int a = 0; a < s.n_scalar; ++a) {
        const int k = s.scalar.data()[a];
        energy += p.linear[a] * moment[k];
        adjoint[k] += p.linear[a];
    }
    for (int l = 0; l < count; ++l) out.energy[atom[l]] = told(energy)[l];
    if (out.basis)
        for (int l = 0; l < count; ++l)
            for (int a = 0; a < s.n_scalar; ++a)
                out.basis[int64_t(atom[l]) * s.n_scalar + a] = told(moment[s.scalar.data()[a]])[l];
    if (!out.gradient) return;

    contract_back(s, moment, adjoint, sum);
    for (int mu = 0, at = 0; mu < s.n_mu; ++mu) {
        slopes(s.reach.data()[mu], sum + s.sum_begin.data()[mu], slope_of + at);
        at += slope_size(s.reach.data()[mu]);
    }
    Sums sums = {};
    const int32_t* neighbour = lanes.neighbour + begin[0] * W;
    done = 0;
    for (; done + B <= total; done += B)
        add_gradients<T, B, M>(s, records + done * step, step, reinterpret_cast<T(*)[B]>(mono), slope_of, neighbour + done * W, out, sums);
    for (; done < total; ++done)
        add_gradients<T, 1, M>(s, records + done * step, step, reinterpret_cast<T(*)[1]>(mono), slope_of, neighbour + done * W, out, sums);
    for (int l = 0; l < count; ++l) {
        double* target = out.gradient + 4 * int64_t(atom[l]);
        for (int a = 0; a < 3; ++a) target[a] += sums.gradient[a][l];
        target[3] += sums.moment[l];
        double* virial = out.virial + 6 * int64_t(lanes.frame[atom[l]]);
        for (int a = 0; a < 6; ++a) virial[a] += (a < 3 ? 1.0 : 0.5) * sums.virial[a][l];
    }
}
