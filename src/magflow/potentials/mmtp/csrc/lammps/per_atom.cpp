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

// Sample standard deviation of the force over the members, its three components together, times the factor of its
// calibration, eV/A.
void PairMmtp::fill_deviations(std::vector<double>& out) {
    const int members = int(file_.members.size()), n = atom->nlocal + atom->nghost, width = 3 * members;
    if (members < 2) fail("one potential alone has no deviation; export an ensemble");
    std::vector<double> rows(std::size_t(n) * width, 0.0);
    for (std::size_t v = 0; v < views_.size(); ++v) {
        const std::size_t m = model_[v] - file_.members.data();
        for (int i = 0; i < n; ++i)
            for (int a = 0; a < 3; ++a) rows[std::size_t(i) * width + 3 * m + a] -= weight(v) * views_[v].gradient[4 * i + a];
    }
    sum_ghosts(rows, width);
    for (int i = 0; i < atom->nlocal; ++i) {
        const double* force_of = rows.data() + std::size_t(i) * width;
        double variance = 0.0;
        for (int a = 0; a < 3; ++a) {
            double mean = 0.0;
            for (int m = 0; m < members; ++m) mean += force_of[3 * m + a] / members;
            for (int m = 0; m < members; ++m) variance += (force_of[3 * m + a] - mean) * (force_of[3 * m + a] - mean);
        }
        out[i] = file_.deviation_factor * std::sqrt(variance / (members - 1));
    }
}

// Mean over the members of the atom's grade: what draws of the posterior change of its force and its magnetic force.
void PairMmtp::fill_grades(std::vector<double>& out) {
    const int n = atom->nlocal + atom->nghost;
    std::size_t base = 0;
    for (const mmtp::Model& member : file_.members) {
        if (member.draws.empty()) fail("the potential has no grade: it was not fitted with one of scope posterior");
        const std::size_t signs = views_of(member, nullptr).size(), draws = member.draws.size();
        const int width = int(4 * draws);
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
        for (int i = 0; i < atom->nlocal; ++i) {
            double of_force = 0.0, of_moment = 0.0;
            for (std::size_t d = 0; d < draws; ++d) {
                const double* slope = rows.data() + std::size_t(i) * width + 4 * d;
                of_force += slope[0] * slope[0] + slope[1] * slope[1] + slope[2] * slope[2];
                of_moment += slope[3] * slope[3];
            }
            out[i] += std::max(member.force_scale * std::sqrt(of_force), member.moment_scale * std::sqrt(of_moment)) / double(file_.members.size());
        }
        base += signs;
    }
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
