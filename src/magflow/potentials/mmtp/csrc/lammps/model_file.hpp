// Potentials as `magflow lammps export` writes them: words and numbers, in the order of model_file.cpp.
#pragma once
#include <string>
#include <vector>

#include "../spec.hpp"

namespace mmtp {

// One potential. `draws` are the parameters of draws of its posterior, from which the grade is computed.
struct Model {
    Spec spec;
    std::vector<double> parameters;
    bool symmetrise;  // use (E(M) + E(-M))/2
    std::vector<std::vector<double>> draws;
    // From the root of the summed squares of what the draws change to the grade, and to a standard deviation.
    double force_scale = 0.0, moment_scale = 0.0, undecided = 0.0;
};

// Where the deviation of a force comes from; in the words of magflow.core.uncertainty.
enum class Source { ensemble, laplace, both };

struct ModelFile {
    std::string writer, identity;
    std::vector<std::string> species;
    double cutoff;  // A
    Source source;
    double deviation_scale, deviation_floor;  // of forces; the floor is in eV/A
    bool magnetic;
    std::vector<Model> members;
};

// Throws std::invalid_argument where the text is not such a file.
ModelFile read_model(const std::string& text);

}  // namespace mmtp
