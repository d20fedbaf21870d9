// Numbers of every atom, worked out at the steps at which `fix pair` asks for them.
#include <atom.h>
#include <comm.h>
#include <update.h>

#include <algorithm>
#include <cmath>

#include "pair_mmtp.hpp"

using namespace LAMMPS_NS;

void* PairMmtp::extract(const char* name, int& dim) {
    dim = 0;
    for (auto& [quantity, of] : per_atom_)
        if (name == quantity + "_flag") return &of.wanted;
    return nullptr;
}

// Nothing where it was not worked out at this step.
void* PairMmtp::extract_peratom(const char* name, int& columns) {
    columns = 0;
    const auto at = per_atom_.find(name);
    if (at == per_atom_.end() || at->second.step != update->ntimestep) return nullptr;
    return at->second.values.data();
}

void PairMmtp::fill_wanted() {
    for (auto& [name, of] : per_atom_) {
        if (!of.wanted) continue;
        of.values.assign(atom->nlocal + 1, 0.0);  // never without room: a pointer to nothing would mean that it is unknown
        (this->*of.fill)(of.values);
        of.step = update->ntimestep;
    }
}

// -dE/dm, eV/muB.
void PairMmtp::fill_magnetic_forces(std::vector<double>& out) {
    if (!file_.magnetic) fail("a potential that reads no moments has no magnetic_force");
    const int n = atom->nlocal + atom->nghost;
    std::vector<double> rows(n, 0.0);
    for (std::size_t v = 0; v < views_.size(); ++v) {
        const double share = weight(v) / double(file_.members.size());
        for (int i = 0; i < n; ++i) rows[i] -= share * views_[v].sign * views_[v].gradient[4 * i + 3];
    }
    sum_ghosts(rows, 1);
    std::copy(rows.begin(), rows.begin() + atom->nlocal, out.begin());
}

// Standard deviation of the force, its three components together, calibrated, eV/A.
void PairMmtp::fill_deviations(std::vector<double>& out) {
    const int n_local = atom->nlocal;
    const double members = double(file_.members.size()), share = file_.source == mmtp::Source::both ? 0.5 : 1.0;
    std::vector<double> variance(n_local, 0.0);
    if (file_.source != mmtp::Source::laplace) {
        const std::vector<double> spread = variances_of_members();
        for (int i = 0; i < n_local; ++i) variance[i] += share * spread[i];
    }
    if (file_.source != mmtp::Source::ensemble)
        for (std::size_t m = 0; m < file_.members.size(); ++m) {
            const double undecided = file_.members[m].undecided;
            if (!(undecided > 0.0)) fail("the potential does not know what its labels left undecided");
            const std::vector<Moved> moved = moved_by_draws(m);
            for (int i = 0; i < n_local; ++i) variance[i] += share * undecided * undecided * moved[i].force / members;
        }
    for (int i = 0; i < n_local; ++i) out[i] = std::hypot(file_.deviation_scale * std::sqrt(variance[i]), file_.deviation_floor);
}

// Sample variance over the members.
std::vector<double> PairMmtp::variances_of_members() {
    const int members = int(file_.members.size()), n = atom->nlocal + atom->nghost, width = 3 * members;
    std::vector<double> rows(std::size_t(n) * width, 0.0), out(atom->nlocal, 0.0);
    if (members < 2 && file_.source == mmtp::Source::ensemble) fail("one potential alone has no deviation; export an ensemble");
    if (members < 2) return out;
    for (std::size_t v = 0; v < views_.size(); ++v) {
        const std::size_t m = model_[v] - file_.members.data();
        for (int i = 0; i < n; ++i)
            for (int a = 0; a < 3; ++a) rows[std::size_t(i) * width + 3 * m + a] -= weight(v) * views_[v].gradient[4 * i + a];
    }
    sum_ghosts(rows, width);
    for (int i = 0; i < atom->nlocal; ++i) {
        const double* force_of = rows.data() + std::size_t(i) * width;
        for (int a = 0; a < 3; ++a) {
            double mean = 0.0;
            for (int m = 0; m < members; ++m) mean += force_of[3 * m + a] / members;
            for (int m = 0; m < members; ++m) out[i] += (force_of[3 * m + a] - mean) * (force_of[3 * m + a] - mean) / (members - 1);
        }
    }
    return out;
}

// Mean over the members of the atom's grade: what draws of the posterior change of its force and its magnetic force.
void PairMmtp::fill_grades(std::vector<double>& out) {
    for (std::size_t m = 0; m < file_.members.size(); ++m) {
        const mmtp::Model& member = file_.members[m];
        if (member.draws.empty()) fail("the potential has no grade: it was not fitted with one of scope posterior");
        const std::vector<Moved> moved = moved_by_draws(m);
        for (int i = 0; i < atom->nlocal; ++i)
            out[i] += std::max(member.force_scale * std::sqrt(moved[i].force), member.moment_scale * std::sqrt(moved[i].moment)) /
                      double(file_.members.size());
    }
}

// Sums over the draws of a member of the squares of what they change.
std::vector<PairMmtp::Moved> PairMmtp::moved_by_draws(std::size_t m) {
    const mmtp::Model& member = file_.members[m];
    const int n = atom->nlocal + atom->nghost, width = int(4 * member.draws.size());
    const std::size_t signs = views_of(member, nullptr).size();
    const std::size_t base = std::find(model_.begin(), model_.end(), &member) - model_.begin();
    std::vector<mmtp::View> views;
    for (const std::vector<double>& draw : member.draws)
        for (mmtp::View& view : views_of(member, draw.data())) views.push_back(std::move(view));
    blocks_->evaluate(n ? atom->x[0] : nullptr, moment_, views);
    std::vector<double> rows(std::size_t(n) * width, 0.0);
    for (std::size_t k = 0; k < views.size(); ++k) {
        const mmtp::View& without = views_[base + k % signs];
        for (int i = 0; i < n; ++i)
            for (int a = 0; a < 4; ++a) {
                const double sign = (a == 3 ? views[k].sign : 1.0) / double(signs);
                rows[std::size_t(i) * width + 4 * (k / signs) + a] += sign * (views[k].gradient[4 * i + a] - without.gradient[4 * i + a]);
            }
    }
    sum_ghosts(rows, width);
    std::vector<Moved> out(atom->nlocal);
    for (int i = 0; i < atom->nlocal; ++i)
        for (int k = 0; k < width; ++k) {
            const double change = rows[std::size_t(i) * width + k];
            (k % 4 == 3 ? out[i].moment : out[i].force) += change * change;
        }
    return out;
}

// What ghosts got belongs to their atoms.
void PairMmtp::sum_ghosts(std::vector<double>& rows, int width) {
    rows_ = rows.data();
    width_ = width;
    comm->reverse_comm(this, width);
}

int PairMmtp::pack_reverse_comm(int n, int first, double* buffer) {
    const double* from = rows_ + std::size_t(first) * width_;
    std::copy(from, from + std::size_t(n) * width_, buffer);
    return n * width_;
}

void PairMmtp::unpack_reverse_comm(int n, int* atoms, double* buffer) {
    for (int k = 0; k < n; ++k)
        for (int a = 0; a < width_; ++a) rows_[std::size_t(atoms[k]) * width_ + a] += *buffer++;
}
