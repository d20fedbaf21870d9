// Python bindings of the molecular dynamics.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <string>

#include "arrays.hpp"
#include "dynamics.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace mmtp;

namespace {

std::vector<Vec3> rows(const Doubles& a) {
    require(a.size() % 3 == 0, "not rows of three");
    std::vector<Vec3> out(a.size() / 3);
    for (std::size_t i = 0; i < a.size(); ++i) out[i / 3][i % 3] = a.data()[i];
    return out;
}

nb::ndarray<nb::numpy, double> array(const Vec3* from, std::size_t n) {
    std::vector<double> flat;
    for (std::size_t i = 0; i < n; ++i) flat.insert(flat.end(), from[i].begin(), from[i].end());
    return owned(std::move(flat), {n, 3});
}

Cell cell_of(const Doubles& a) {
    require(a.size() == 9, "a cell has nine numbers");
    Cell out;
    for (int k = 0; k < 9; ++k) out[k / 3][k % 3] = a.data()[k];
    return out;
}

Settings settings_of(const nb::dict& d) {
    Settings s;
    const auto number = [&](const char* name) { return nb::cast<double>(d[name]); };
    s.timestep = number("timestep");
    s.friction = number("friction");
    s.kt = number("kt");
    s.pressure = number("pressure");
    s.piston_mass = number("piston_mass");
    s.pistons = nb::cast<int>(d["pistons"]);
    s.key = nb::cast<std::uint64_t>(d["key"]);
    s.min_distance = number("min_distance");
    s.min_energy = number("min_energy");
    s.max_energy = number("max_energy");
    s.max_kinetic = number("max_kinetic");
    s.max_deviation = number("max_deviation");
    require(s.pistons == 0 || ((s.pistons == 1 || s.pistons == 3) && s.piston_mass > 0.0), "bad pistons");
    return s;
}

std::size_t add(Dynamics& self, const nb::dict& settings, Ints type, Doubles mass, Doubles moment, Doubles position, Doubles velocity,
                Doubles cell, Doubles piston, double heat, std::int64_t step) {
    const std::size_t n = type.size();
    require(mass.size() == n && moment.size() == n && position.size() == 3 * n && velocity.size() == 3 * n, "atom arrays differ in length");
    Run run;
    run.settings = settings_of(settings);
    run.type = values(type);
    run.mass = values(mass);
    run.moment = values(moment);
    run.position = rows(position);
    run.velocity = rows(velocity);
    run.cell = cell_of(cell);
    require(int(piston.size()) == run.settings.pistons, "wrong number of piston momenta");
    std::copy(piston.data(), piston.data() + piston.size(), run.piston.begin());
    run.heat = heat;
    run.step = step;
    return self.add(std::move(run));
}

nb::dict scalars(const Run& run) {
    nb::dict d;
    d["step"] = run.step;
    d["energy"] = run.energy;
    d["energy_deviation"] = run.energy_deviation;
    d["forces_deviation"] = run.deviation;
    d["heat"] = run.heat;
    d["stop"] = int(run.stop);
    return d;
}

void handle_signals() {
    nb::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

}  // namespace

void bind_dynamics(nb::module_& m) {
    nb::class_<Dynamics>(m, "Dynamics")
        .def(
            "__init__",
            [](Dynamics* self, const std::vector<nb::tuple>& members, double reach, double deviation_factor, const std::string& name, int threads) {
                std::vector<Member> own;
                for (const nb::tuple& t : members) {
                    Member member{values(nb::cast<Doubles>(t[1])), nb::cast<const Spec&>(t[0]), nb::cast<bool>(t[2])};
                    require(int(member.parameters.size()) == member.spec.n_parameters(), "wrong number of parameters");
                    own.push_back(std::move(member));
                }
                new (self) Dynamics(engine(name), std::move(own), reach, deviation_factor, threads);
            },
            "members"_a, "reach"_a, "deviation_factor"_a, "instruction_set"_a = "", "threads"_a = 1)
        .def("add", &add, "settings"_a, nb::kw_only(), "type"_a, "mass"_a, "moment"_a, "position"_a, "velocity"_a, "cell"_a, "piston"_a,
             "heat"_a, "step"_a)
        .def(
            "list_neighbours",
            [](Dynamics& self, std::size_t r, Doubles position, Doubles cell) { self.list_neighbours(r, rows(position), cell_of(cell)); },
            "run"_a, "position"_a, "cell"_a)
        .def("set_moments", [](Dynamics& self, std::size_t r, Doubles moment) { self.set_moments(r, values(moment)); })
        .def("add_heat", [](Dynamics& self, std::size_t r, double heat) { self.runs().at(r).heat += heat; })
        .def("retire", &Dynamics::retire)
        .def("evaluate", &Dynamics::evaluate, nb::call_guard<nb::gil_scoped_release>())
        .def(
            "advance",
            [](Dynamics& self, std::int64_t step) {
                nb::gil_scoped_release release;
                self.advance(step, handle_signals);
            },
            "step"_a)
        .def("record", &Dynamics::record, "every"_a, "energy_factor"_a)
        .def("recorded",
             [](Dynamics& self, std::size_t r) {
                 std::vector<double> rows;
                 rows.swap(self.runs().at(r).record);
                 const std::size_t n = rows.size() / kRecord;
                 return owned(std::move(rows), {n, kRecord});
             })
        .def("scalars", [](Dynamics& self, std::size_t r) { return scalars(self.runs().at(r)); })
        .def("position", [](Dynamics& self, std::size_t r) { return array(self.runs().at(r).position.data(), self.runs().at(r).type.size()); })
        .def("velocity", [](Dynamics& self, std::size_t r) { return array(self.runs().at(r).velocity.data(), self.runs().at(r).type.size()); })
        .def("force", [](Dynamics& self, std::size_t r) { return array(self.runs().at(r).force.data(), self.runs().at(r).type.size()); })
        .def("cell", [](Dynamics& self, std::size_t r) { return array(self.runs().at(r).cell.data(), 3); })
        .def("listed_position",
             [](Dynamics& self, std::size_t r) { return array(self.runs().at(r).listed_position.data(), self.runs().at(r).listed_position.size()); })
        .def("listed_cell", [](Dynamics& self, std::size_t r) { return array(self.runs().at(r).listed_cell.data(), 3); })
        .def("piston", [](Dynamics& self, std::size_t r) { return owned(std::vector<double>(self.runs().at(r).piston.begin(), self.runs().at(r).piston.begin() + self.runs().at(r).settings.pistons), {std::size_t(self.runs().at(r).settings.pistons)}); })
        .def("virial", [](Dynamics& self, std::size_t r) { return owned(std::vector<double>(self.runs().at(r).virial.begin(), self.runs().at(r).virial.end()), {6}); });
}
