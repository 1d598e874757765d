// Names of the tasks. Of model.hpp, apart from what needs a model: readers of files want them.
#include "pleiad/core/error.hpp"
#include "pleiad/model/model.hpp"

namespace pleiad::model {

const char* task_name(Task task) { return task == Task::lm ? "lm" : task == Task::seq2seq ? "seq2seq" : "classifier"; }

Task task_from(const std::string& name, const std::string& where) {
  for (const Task t : {Task::lm, Task::seq2seq, Task::classifier}) {
    if (name == task_name(t)) return t;
  }
  user_error("{} = {}: must be one of lm, seq2seq, classifier", where, name);
}

}  // namespace pleiad::model
