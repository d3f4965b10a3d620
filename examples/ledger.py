"""A world of your own. A task's `world.setup` is balances; a turn is right when it leaves those of its truth."""

from fissile.calls import ToolCall, ToolResult
from fissile.environments.base import WRONG_STATE, ToolEnvironment, Verdict
from fissile.errors import ErrorKind, ToolError


class Ledger(ToolEnvironment):
    def reset(self, task):
        self.task, self.state = task, dict(task.world.setup)

    def execute(self, calls):
        return tuple(self.transfer(call, index) for index, call in enumerate(calls))

    def transfer(self, call: ToolCall, index: int) -> ToolResult:
        if errors := self.task.tool("transfer").validate(call.arguments, index):
            return ToolResult(f"Error: {errors[0].message}", index, errors[0])
        payer, payee, amount = (call.arguments[name] for name in ("payer", "payee", "amount"))
        if payee not in self.state or self.state.get(payer, 0) < amount:
            why = f"{payer} holds {self.state.get(payer, 0)}; the accounts are {', '.join(self.state)}."
            return ToolResult(f"Error: {why}", index, ToolError(ErrorKind.DOMAIN_ERROR, why, index, "transfer"))
        self.state[payer], self.state[payee] = self.state[payer] - amount, self.state[payee] + amount
        return ToolResult(f"{payer} now holds {self.state[payer]}.", index)

    def judge(self, turn):
        truth = Ledger()
        truth.reset(self.task)
        truth.execute([call for earlier in range(turn + 1) for call in self.task.oracle_calls(earlier)])
        wrong = Verdict.against(WRONG_STATE, ErrorKind.WRONG_STATE, "the balances are not as the request wants them.")
        return Verdict() if self.state == truth.state else wrong
