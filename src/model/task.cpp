// Names of the tasks. Of model.hpp, apart from what needs a model: readers of files want them.
#include "pleiad/core/error.hpp"
#include "pleiad/model/model.hpp"

namespace pleiad::model {

const char* task_name(Task task) {
  switch (task) {
    case Task::lm: return "lm";
    case Task::masked_lm: return "masked_lm";
    case Task::seq2seq: return "seq2seq";
    case Task::classifier: break;
  }
  return "classifier";
}

Task task_from(const std::string& name, const std::string& where) {
  for (const Task t : {Task::lm, Task::masked_lm, Task::seq2seq, Task::classifier}) {
    if (name == task_name(t)) return t;
  }
  user_error("{} = {}: must be one of lm, masked_lm, seq2seq, classifier", where, name);
}

}  // namespace pleiad::model
