"""The public stream drivers: every payload once, in order; a stream that breaks the rule is caught."""

from __future__ import annotations

import json
from pathlib import Path

from gatewright.sim.build import build_simulator, play_bench

# A register between two streams. The second forgets an offer that waits; the third changes it.
QUEUE = """
module {name} (
    input clk, input rst,
    input i__valid, output i__ready, input [7:0] i__payload,
    output o__valid, input o__ready, output [7:0] o__payload
);
    reg full = 0;
    reg [7:0] word = 0;
    reg [3:0] age = 0;
    assign i__ready = ~full | o__ready, o__valid = full, o__payload = word;
    always @(posedge clk) begin
        age <= age + 1;
        if (i__valid & i__ready) begin full <= 1; word <= i__payload; end
        else if (o__ready) full <= 0;
        {fault}
        if (rst) full <= 0;
    end
endmodule
"""
FAULTS = {
    "good": "",
    "withdraws": "if (full & ~o__ready & age == 3) full <= 0;",
    "changes": "if (full & ~o__ready & age == 3) word <= ~word;",
}


def test_drivers_and_checker(tmp_path: Path) -> None:
    ports, queues, text = ["input clk", "input rst"], [], ""
    for name, fault in FAULTS.items():
        text += QUEUE.format(name=name, fault=fault)
        wires = [".clk(clk), .rst(rst)"]
        for side, (into, out) in {"i": ("input", "output"), "o": ("output", "input")}.items():
            ports += [
                f"{into} {name}_{side}__valid", f"{out} {name}_{side}__ready",
                f"{into} [7:0] {name}_{side}__payload",
            ]  # fmt: skip
            wires += [
                f".{side}__{port}({name}_{side}__{port})" for port in ("valid", "ready", "payload")
            ]
        queues.append(f"{name} {name} ({', '.join(wires)});")
    text += f"module queues({', '.join(ports)});\n" + "\n".join(queues) + "\nendmodule\n"
    (tmp_path / "queues.v").write_text(text)
    build_simulator([tmp_path / "queues.v"], "queues", tmp_path)
    play_bench(tmp_path, "queues", "support.tb_streams", tmp_path, tmp_path / "run.log")
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found) == 12
    for case, fault in found.items():
        name, pauses = case.split()[0], case.split(", ")[1] != "0.0)"
        if name == "good" or not pauses:  # nothing waits for a sink that is always ready
            assert fault == "", case
        else:
            word = {"withdraws": "valid was withdrawn", "changes": "payload changed"}[name]
            assert f"checker {name}_o: {word}" in fault, case
            assert f"sink {name}_o: {word}" in fault, case
