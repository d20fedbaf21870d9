// Environments of atoms: FLARE's descriptors B1, B2 and B3, of unit length, and their derivatives.
//
// Radial functions, cutoff, spherical harmonics and 3j symbols are those of mir-flare; neighbours come from outside, and
// derivatives are taken by the vectors to them. With the bond sums c_a of an atom, a = (species, n, l, m), each
// descriptor is a sum of terms
//
//     B1: c_n00        B2: c_n1lm c_n2lm        B3: (3j) c_n1l1m1 c_n2l2m2 c_n3l3m3
//
// in the order that mir-flare has them (Drautz, Phys. Rev. B 99, 014104 (2019), equations 21 to 36). Energies that are
// functions of the descriptors are differentiated by the bond sums first: then a neighbour costs as many
// multiplications as there are bond sums, however many descriptors there are.

#include "cutoffs.h"
#include "radial.h"
#include "wigner3j.h"
#include "y_grad.h"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <complex>
#include <cstdlib>
#include <memory>
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <vector>

namespace py = pybind11;

namespace {

template <class Scalar>
using Rows = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class Scalar> using Row = Eigen::Matrix<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor>;
using Complex = std::complex<double>;

constexpr double kEmpty = 1e-8; // mir-flare's: a shorter descriptor is that of an atom without neighbours

double real_part(double x) { return x; }
double real_part(Complex x) { return x.real(); }

// `weight` times the product of `order` bond sums, a part of one descriptor.
struct Term {
  int descriptor;
  std::array<int, 3> factor;
  double weight;
};

struct Shape {
  int order, species, n_max, l_max;
  double cutoff;

  int harmonics() const { return (l_max + 1) * (l_max + 1); }
  int radial() const { return species * n_max; }
  int sums() const { return radial() * harmonics(); }
};

struct Terms {
  std::vector<Term> list;
  int descriptors = 0;
};

Terms terms_b1(const Shape &shape) {
  Terms terms;
  for (int n = 0; n < shape.radial(); n++)
    terms.list.push_back({terms.descriptors++, {n * shape.harmonics(), 0, 0}, 1.0});
  return terms;
}

Terms terms_b2(const Shape &shape) {
  Terms terms;
  const int h = shape.harmonics();
  for (int n1 = 0; n1 < shape.radial(); n1++)
    for (int n2 = n1; n2 < shape.radial(); n2++)
      for (int l = 0; l <= shape.l_max; l++, terms.descriptors++)
        for (int lm = l * l; lm < (l + 1) * (l + 1); lm++)
          terms.list.push_back({terms.descriptors, {n1 * h + lm, n2 * h + lm, 0}, 1.0});
  return terms;
}

// The 3j symbols of mir-flare lie one after another for l1, l2, l3, m1, m2, m3, with room for every l3.
void add_b3(Terms &terms, const Shape &shape, const Eigen::VectorXd &symbols, const std::array<int, 3> &n) {
  const int h = shape.harmonics(), side = shape.l_max + 1;
  for (int l1 = 0; l1 < side; l1++)
    for (int l2 = 0; l2 < side; l2++)
      for (int l3 = std::abs(l1 - l2); l3 <= std::min(l1 + l2, shape.l_max); l3++, terms.descriptors++) {
        const int w1 = 2 * l1 + 1, w2 = 2 * l2 + 1, w3 = 2 * l3 + 1;
        const int first = side * side * side * side * l1 * l1 + side * side * l2 * l2 * w1 + l3 * l3 * w2 * w1;
        for (int m1 = 0; m1 < w1; m1++)
          for (int m2 = 0; m2 < w2; m2++) {
            const int m3 = l1 + l2 + l3 - m1 - m2;
            if (m3 < 0 || m3 >= w3) continue;
            const double symbol = symbols(first + (m1 * w2 + m2) * w3 + m3);
            if (symbol == 0.0) continue;
            terms.list.push_back({terms.descriptors,
                                  {n[0] * h + l1 * l1 + m1, n[1] * h + l2 * l2 + m2, n[2] * h + l3 * l3 + m3},
                                  symbol});
          }
      }
}

Terms terms_b3(const Shape &shape) {
  Terms terms;
  const Eigen::VectorXd symbols = compute_coeffs(shape.l_max);
  for (int n1 = 0; n1 < shape.radial(); n1++)
    for (int n2 = n1; n2 < shape.radial(); n2++)
      for (int n3 = n2; n3 < shape.radial(); n3++) add_b3(terms, shape, symbols, {n1, n2, n3});
  return terms;
}

Terms terms_of(const Shape &shape) {
  if (shape.order == 1) return terms_b1(shape);
  return shape.order == 2 ? terms_b2(shape) : terms_b3(shape);
}

// Which descriptors, for all frames.
struct Basis {
  Shape shape;
  Terms terms;

  Basis(int order, int species, int n_max, int l_max, double cutoff)
      : shape{order, species, n_max, l_max, cutoff}, terms(terms_of(shape)) {}
};

// Spherical harmonics and their gradients, (4, harmonics).
void harmonics_of(Rows<double> &out, const Eigen::Vector3d &v, int l_max) {
  const std::size_t size = out.cols();
  std::vector<double> y[4];
  for (auto &part : y) part.assign(size, 0.0);
  get_Y(y[0], y[1], y[2], y[3], v(0), v(1), v(2), l_max);
  for (int k = 0; k < 4; k++) out.row(k) = Eigen::Map<Row<double>>(y[k].data(), size);
}

void harmonics_of(Rows<Complex> &out, const Eigen::Vector3d &v, int l_max) {
  Eigen::VectorXcd y[4];
  get_complex_Y(y[0], y[1], y[2], y[3], v(0), v(1), v(2), l_max);
  for (int k = 0; k < 4; k++) out.row(k) = y[k].transpose();
}

// Value and gradient of the radial functions and harmonics of one bond; its sums are their products.
template <class Scalar> struct Bond {
  int species;
  Rows<double> radial;
  Rows<Scalar> angular;

  Bond(const Shape &shape, int species, const Eigen::Vector3d &v)
      : species(species), radial(4, shape.n_max), angular(4, shape.harmonics()) {
    std::vector<double> g[4];
    for (auto &part : g) part.assign(shape.n_max, 0.0);
    calculate_radial(g[0], g[1], g[2], g[3], chebyshev, quadratic_cutoff, v(0), v(1), v(2), v.norm(), shape.cutoff,
                     shape.n_max, {0.0, shape.cutoff}, {});
    for (int k = 0; k < 4; k++) radial.row(k) = Eigen::Map<Row<double>>(g[k].data(), shape.n_max);
    harmonics_of(angular, v, shape.l_max);
  }

  // Derivatives of the bond sums of its species, (3, n_max x harmonics).
  Rows<Scalar> gradient() const {
    const int n = radial.cols(), h = angular.cols();
    Rows<Scalar> out(3, n * h);
    for (int k = 0; k < 3; k++)
      for (int i = 0; i < n; i++)
        out.row(k).segment(i * h, h) = radial(k + 1, i) * angular.row(0) + radial(0, i) * angular.row(k + 1);
    return out;
  }
};

// The atoms of one frame and their neighbours: of atom i those from first[i] to first[i + 1].
template <class Scalar> class Environments {
public:
  Environments(std::shared_ptr<Basis> basis, const Eigen::VectorXi &types, const Eigen::VectorXi &first,
               const Eigen::VectorXi &neighbour, const Rows<double> &vectors)
      : basis_(std::move(basis)), shape_(basis_->shape), terms_(basis_->terms), first_(first),
        sums_(Rows<Scalar>::Zero(types.size(), shape_.sums())), norm_(types.size()) {
    const int n_max = shape_.n_max, size = n_max * shape_.harmonics();
    bonds_.reserve(neighbour.size());
    for (int atom = 0; atom < types.size(); atom++)
      for (int b = first(atom); b < first(atom + 1); b++) {
        bonds_.emplace_back(shape_, types(neighbour(b)), vectors.row(b).transpose());
        const auto &bond = bonds_.back();
        for (int n = 0; n < n_max; n++)
          sums_.row(atom).segment(bond.species * size + n * shape_.harmonics(), shape_.harmonics()) +=
              bond.radial(0, n) * bond.angular.row(0);
      }
    measure();
  }

  // (N, D) descriptors of unit length, zero of an atom without neighbours.
  const Rows<double> &unit() const { return unit_; }

  // (P, 3) derivatives of sum_i weights_i . unit_i by the vectors to the neighbours.
  Rows<double> pull(const Rows<double> &weights) const {
    Rows<double> out(bonds_.size(), 3);
    for (int atom = 0; atom < unit_.rows(); atom++) {
      const Row<Scalar> by_sum = by_sums(atom, weights.row(atom));
      for (int b = first_(atom); b < first_(atom + 1); b++) out.row(b) = along(bonds_[b], by_sum);
    }
    return out;
  }

  // (D, 3 P) derivatives of the unit descriptors of each atom by the vectors to its neighbours.
  Rows<double> gradients() const {
    Rows<double> out = Rows<double>::Zero(terms_.descriptors, 3 * bonds_.size());
    for (int atom = 0; atom < unit_.rows(); atom++) {
      if (norm_(atom) < kEmpty) continue;
      auto block = out.middleCols(3 * first_(atom), 3 * (first_(atom + 1) - first_(atom)));
      const Rows<Scalar> bonds = bond_gradients(atom);
      for_each_derivative(atom, [&](int d, int sum, Scalar slope) { add_real(block.row(d), slope, bonds.row(sum)); });
      const Row<double> longer = unit_.row(atom) * block;
      block.noalias() -= unit_.row(atom).transpose() * longer;
      block /= norm_(atom);
    }
    return out;
  }

private:
  std::shared_ptr<Basis> basis_;
  const Shape &shape_;
  const Terms &terms_;
  Eigen::VectorXi first_;
  std::vector<Bond<Scalar>> bonds_;
  Rows<Scalar> sums_;
  Rows<double> unit_;
  Eigen::VectorXd norm_;

  void measure() {
    unit_ = Rows<double>::Zero(sums_.rows(), terms_.descriptors);
    for (int atom = 0; atom < sums_.rows(); atom++) {
      for (const Term &t : terms_.list) {
        Scalar product = sums_(atom, t.factor[0]);
        for (int k = 1; k < shape_.order; k++) product *= sums_(atom, t.factor[k]);
        unit_(atom, t.descriptor) += t.weight * real_part(product);
      }
      norm_(atom) = unit_.row(atom).norm();
      unit_.row(atom) *= norm_(atom) < kEmpty ? 0.0 : 1.0 / norm_(atom);
    }
  }

  // Calls visit(descriptor, bond sum, slope): slope times a change of the sum is, in its real part, that of the descriptor.
  template <class Visit> void for_each_derivative(int atom, Visit visit) const {
    const auto sum = sums_.row(atom);
    for (const Term &t : terms_.list) {
      if (shape_.order == 1) {
        visit(t.descriptor, t.factor[0], Scalar(t.weight));
      } else if (shape_.order == 2) {
        visit(t.descriptor, t.factor[0], t.weight * sum(t.factor[1]));
        visit(t.descriptor, t.factor[1], t.weight * sum(t.factor[0]));
      } else {
        visit(t.descriptor, t.factor[0], t.weight * sum(t.factor[1]) * sum(t.factor[2]));
        visit(t.descriptor, t.factor[1], t.weight * sum(t.factor[0]) * sum(t.factor[2]));
        visit(t.descriptor, t.factor[2], t.weight * sum(t.factor[0]) * sum(t.factor[1]));
      }
    }
  }

  // Derivative of weights . unit by the bond sums of an atom.
  Row<Scalar> by_sums(int atom, const Row<double> &weights) const {
    Row<Scalar> out = Row<Scalar>::Zero(sums_.cols());
    if (norm_(atom) < kEmpty) return out;
    const Row<double> across = (weights - weights.dot(unit_.row(atom)) * unit_.row(atom)) / norm_(atom);
    for_each_derivative(atom, [&](int d, int sum, Scalar slope) { out(sum) += across(d) * slope; });
    return out;
  }

  // Real part of by_sum . d(sums)/d(vector), without the products of radial functions and harmonics.
  Eigen::RowVector3d along(const Bond<Scalar> &bond, const Row<Scalar> &by_sum) const {
    const int h = shape_.harmonics(), n = shape_.n_max;
    const Eigen::Map<const Rows<Scalar>> mine(by_sum.data() + bond.species * n * h, n, h);
    const Rows<Scalar> by_angular = bond.radial.template cast<Scalar>() * mine; // (4, harmonics)
    Eigen::RowVector3d out;
    for (int k = 0; k < 3; k++)
      out(k) = real_part((by_angular.row(k + 1).array() * bond.angular.row(0).array() +
                          by_angular.row(0).array() * bond.angular.row(k + 1).array())
                             .sum());
    return out;
  }

  // (bond sums, 3 neighbours) derivatives of the sums of an atom.
  Rows<Scalar> bond_gradients(int atom) const {
    const int begin = first_(atom), count = first_(atom + 1) - begin, size = shape_.n_max * shape_.harmonics();
    Rows<Scalar> out = Rows<Scalar>::Zero(shape_.sums(), 3 * count);
    for (int b = 0; b < count; b++)
      out.block(bonds_[begin + b].species * size, 3 * b, size, 3) = bonds_[begin + b].gradient().transpose();
    return out;
  }

  template <class Out, class In> static void add_real(Out out, double slope, const In &bonds) { out += slope * bonds; }
  template <class Out, class In> static void add_real(Out out, Complex slope, const In &bonds) {
    out += slope.real() * bonds.real() - slope.imag() * bonds.imag();
  }
};

template <class Scalar> void declare(py::module_ &module, const char *name) {
  using Kind = Environments<Scalar>;
  py::class_<Kind>(module, name)
      .def(py::init<std::shared_ptr<Basis>, const Eigen::VectorXi &, const Eigen::VectorXi &,
                    const Eigen::VectorXi &, const Rows<double> &>(),
           py::arg("basis"), py::arg("types"), py::arg("first"), py::arg("neighbour"), py::arg("vectors"))
      .def_property_readonly("unit", &Kind::unit, py::return_value_policy::reference_internal)
      .def("pull", &Kind::pull, py::arg("weights"))
      .def("gradients", &Kind::gradients);
}

} // namespace

PYBIND11_MODULE(_environments, module) {
  py::class_<Basis, std::shared_ptr<Basis>>(module, "Basis")
      .def(py::init<int, int, int, int, double>(), py::arg("order"), py::arg("species"), py::arg("n_max"),
           py::arg("l_max"), py::arg("cutoff"));
  declare<double>(module, "RealEnvironments");
  declare<Complex>(module, "ComplexEnvironments");
}
