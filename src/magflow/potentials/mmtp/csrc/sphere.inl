// Polynomials of unit vectors (x, y, z), in lanes: T as in dual.inl.
//
// On the sphere z^2 = 1 - x^2 - y^2, so x^a y^b ("even") and x^a y^b z ("odd") span all monomials: (n + 1)^2 of them up to
// rank n, as many as there are spherical harmonics, instead of (n + 1)(n + 2)(n + 3)/6. Monomials are ordered by a + b,
// then b: the products of number k, which has a + b = rank, with x and y are k + rank + 1 and k + rank + 2. A polynomial is
// the coefficients of its even monomials up to rank n, then those of the odd ones.
//
// Derivatives are those of one of the many polynomials that agree on the sphere: only their tangential part means something.
//
// Included once per instruction set, inside an anonymous namespace, after dual.inl.

// x^a y^b with a + b < n at G unit vectors: mono[k][g].
template <typename T, int G>
MMTP_INLINE void monomials(int n, const T (*u)[G], T (*mono)[G]) {
    for (int g = 0; g < G; ++g) mono[0][g] = constant<T>(1.0);
    for (int rank = 1, k = 1; rank < n; ++rank) {
        for (int b = 0; b < rank; ++b, ++k)
            for (int g = 0; g < G; ++g) mono[k][g] = mono[k - rank][g] * u[0][g];
        for (int g = 0; g < G; ++g) mono[k][g] = mono[k - rank - 1][g] * u[1][g];
        ++k;
    }
}

// Adds f times every monomial up to rank n to its sum over the neighbours, G of them at a time, so that each sum is loaded
// and stored once for all. `mono`: below rank n.
template <typename T, int G>
MMTP_INLINE void add_sums(int n, const T* f, const T (*u)[G], const T (*mono)[G], T* sum) {
    if (n == 0) {
        for (int g = 0; g < G; ++g) sum[0] += f[g];
        return;
    }
    T fx[G], fy[G], fz[G];
    for (int g = 0; g < G; ++g) {
        fx[g] = f[g] * u[0][g];
        fy[g] = f[g] * u[1][g];
        fz[g] = f[g] * u[2][g];
    }
    const int inner = planar(n);
    T *edge = sum + inner, *odd = edge + n + 1;
    for (int k = 0; k < inner; ++k) {
        T even = sum[k], with_z = odd[k];
        for (int g = 0; g < G; ++g) {
            even += f[g] * mono[k][g];
            with_z += fz[g] * mono[k][g];
        }
        sum[k] = even;
        odd[k] = with_z;
    }
    const T(*last)[G] = mono + planar(n - 1);
    for (int b = 0; b < n; ++b)
        for (int g = 0; g < G; ++g) edge[b] += fx[g] * last[b][g];
    for (int g = 0; g < G; ++g) edge[n] += fy[g] * last[n - 1][g];
}

// The part of a polynomial of the highest rank n > 0.
template <typename T, int G>
MMTP_INLINE void add_edge(int n, const T (*u)[G], const T (*mono)[G], const T* edge, T* value) {
    const T(*last)[G] = mono + planar(n - 1);
    T by_x[G];
    for (int g = 0; g < G; ++g) by_x[g] = T{};
    for (int b = 0; b < n; ++b)
        for (int g = 0; g < G; ++g) by_x[g] += edge[b] * last[b][g];
    for (int g = 0; g < G; ++g) value[g] += u[0][g] * by_x[g] + u[1][g] * (edge[n] * last[n - 1][g]);
}

// Values of a polynomial up to rank n.
template <typename T, int G>
MMTP_INLINE void polynomial(int n, const T (*u)[G], const T (*mono)[G], const T* coefficient, T* value) {
    for (int g = 0; g < G; ++g) value[g] = n ? T{} : coefficient[0];
    if (n == 0) return;
    const int inner = planar(n);
    const T *edge = coefficient + inner, *of_odd = edge + n + 1;
    T odd[G];
    for (int g = 0; g < G; ++g) odd[g] = T{};
    for (int k = 0; k < inner; ++k)
        for (int g = 0; g < G; ++g) {
            value[g] += coefficient[k] * mono[k][g];
            odd[g] += of_odd[k] * mono[k][g];
        }
    for (int g = 0; g < G; ++g) value[g] += u[2][g] * odd[g];
    add_edge<T, G>(n, u, mono, edge, value);
}

// A polynomial with its derivatives, in the order they are read: of each monomial below rank n the coefficients of the
// even part, of the odd one, and of the former's derivatives by x and y; of those below rank n - 1 also the latter's; then
// the even part's of rank n.
inline int slope_size(int n) { return 6 * planar(n - 1) + 4 * n + n + 1; }

template <typename T>
inline void slopes(int n, const T* coefficient, T* out) {
    const T *edge = coefficient + planar(n), *odd = edge + n + 1;
    for (int rank = 0, k = 0; rank < n; ++rank)
        for (int b = 0; b <= rank; ++b, ++k) {
            const double a = rank - b + 1;
            *out++ = coefficient[k];
            *out++ = odd[k];
            *out++ = a * coefficient[k + rank + 1];
            *out++ = (b + 1.0) * coefficient[k + rank + 2];
            if (rank + 1 == n) continue;
            *out++ = a * odd[k + rank + 1];
            *out++ = (b + 1.0) * odd[k + rank + 2];
        }
    for (int b = 0; b <= n; ++b) *out++ = edge[b];
}

// Values and derivatives by x, y and z; `c`: see slopes().
template <typename T, int G>
MMTP_INLINE void polynomial(int n, const T (*u)[G], const T (*mono)[G], const T* c, T* value, T (*slope)[G]) {
    T even[G], odd[G], even_x[G], even_y[G], odd_x[G], odd_y[G];
    for (int g = 0; g < G; ++g) even[g] = odd[g] = even_x[g] = even_y[g] = odd_x[g] = odd_y[g] = T{};
    const int inner = planar(n), low = planar(n - 1);
    int k = 0;
    for (; k < low; ++k, c += 6)
        for (int g = 0; g < G; ++g) {
            const T m = mono[k][g];
            even[g] += c[0] * m;
            odd[g] += c[1] * m;
            even_x[g] += c[2] * m;
            even_y[g] += c[3] * m;
            odd_x[g] += c[4] * m;
            odd_y[g] += c[5] * m;
        }
    for (; k < inner; ++k, c += 4)
        for (int g = 0; g < G; ++g) {
            const T m = mono[k][g];
            even[g] += c[0] * m;
            odd[g] += c[1] * m;
            even_x[g] += c[2] * m;
            even_y[g] += c[3] * m;
        }
    add_edge<T, G>(n, u, mono, c, even);
    for (int g = 0; g < G; ++g) {
        value[g] = even[g] + u[2][g] * odd[g];
        slope[0][g] = even_x[g] + u[2][g] * odd_x[g];
        slope[1][g] = even_y[g] + u[2][g] * odd_y[g];
        slope[2][g] = odd[g];
    }
}
