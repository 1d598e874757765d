// All ranks decide together whether something went wrong, before anyone throws: no rank is left waiting, one message is shown.
#pragma once
#include <functional>
#include <string>

#include "pleiad/comm/communicator.hpp"

namespace pleiad::comm {

/// Throws the same UserError on every rank if any rank brings a non-empty `problem`: the message of the lowest such rank and,
/// if not all ranks have one, which do. collective.
void agree(const Communicator& comm, const std::string& problem);

/// Runs `action` (which must not communicate) and turns a UserError, or what a file system would not do, of any rank into one UserError of all. collective.
void agree_on(const Communicator& comm, const std::function<void()>& action);
/// The same for what rank 0 does for all of them: that it was this rank is no news. collective.
void agree_on_root(const Communicator& comm, const std::function<void()>& action);
/// Throws `problem` of rank 0, if it has one, on every rank. collective.
void agree_with_root(const Communicator& comm, const std::string& problem);

/// UserError on all ranks unless every rank brings the same text; `what` names it in the message. collective.
void require_same(const Communicator& comm, const std::string& text, const std::string& what);

}  // namespace pleiad::comm
