"""A gatewright core as a peripheral of a LiteX SoC, and an SoC that holds it.

Build the smallest one, its bus led out to pins (``wb_*``)::

    gatewright verilog program -o verilog
    python soc.py verilog -o build

In an SoC of a board two lines do the same::

    soc.gru = Gatewright(soc.platform, "verilog")
    soc.bus.add_slave("gru", soc.gru.bus, SoCRegion(origin=0x9000_0000, size=0x1000, cached=False))

``gatewright_registers.h`` has the registers for its firmware; ``gatewright.h`` in the folder of the
Verilog, formats and conversions.
"""

import argparse
from pathlib import Path

from litex.build.generic_platform import Pins
from litex.build.lattice import LatticePlatform
from litex.gen import LiteXModule
from litex.soc.integration.builder import Builder
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCMini
from litex.soc.interconnect import wishbone
from litex.soc.interconnect.csr_eventmanager import EventManager, EventSourceLevel
from migen import ClockDomain, ClockSignal, Instance, ResetSignal, Signal

__all__ = ["BASE", "Gatewright", "SoC"]

BASE = 0x9000_0000


class Gatewright(LiteXModule):
    """The core of a program behind its Wishbone registers.

    Parameters
    ----------
    platform : GenericPlatform
    folder : path
        What ``gatewright verilog`` wrote.

    Attributes
    ----------
    bus : wishbone.Interface
        Registers of ``docs/integration.md``, a slave of 32 bits with word addresses.
    ev : EventManager
        Interrupt while an output waits and the interrupt is enabled.
    """

    def __init__(self, platform, folder):
        folder = Path(folder)
        for name in ("core.v", "gatewright_wishbone.v"):
            platform.add_source(str(folder / name))
        for path in sorted(folder.glob("[bw]*.hex")):  # core.v reads them in the build's folder
            platform.add_source(str(path), language="hex", copy=True)
        self.bus = bus = wishbone.Interface(data_width=32, addressing="word")
        self.ev = EventManager()
        self.ev.output = EventSourceLevel()
        self.ev.finalize()
        irq = Signal()
        self.comb += self.ev.output.trigger.eq(irq)
        self.specials += Instance(
            "gatewright_wishbone",
            i_clk=ClockSignal(), i_rst=ResetSignal(),
            i_wb_cyc_i=bus.cyc, i_wb_stb_i=bus.stb, i_wb_we_i=bus.we, i_wb_sel_i=bus.sel,
            i_wb_adr_i=bus.adr[:4], i_wb_dat_i=bus.dat_w,
            o_wb_dat_o=bus.dat_r, o_wb_ack_o=bus.ack, o_irq=irq,
        )  # fmt: skip


class SoC(SoCMini):
    """An SoC without a processor, whose bus master sits at the pins ``wb_*``."""

    def __init__(self, folder, clock=int(50e6)):
        pins = [("sys_clk", 0, Pins(1)), ("sys_rst", 0, Pins(1))]
        platform = LatticePlatform("LFE5U-25F-6BG381C", pins, toolchain="trellis")
        super().__init__(platform, clock, ident="gatewright example")
        self.crg = _Clock(platform)
        self.gru = Gatewright(platform, folder)
        region = SoCRegion(origin=BASE, size=0x1000, cached=False)
        self.bus.add_slave("gru", self.gru.bus, region)
        master = wishbone.Interface(data_width=32, adr_width=30, addressing="word")
        platform.add_extension(master.get_ios("wb"))
        self.comb += master.connect_to_pads(platform.request("wb"), mode="slave")
        self.bus.add_master("pins", master)


class _Clock(LiteXModule):
    """Clock and reset from the pins."""

    def __init__(self, platform):
        self.cd_sys = ClockDomain("sys")
        self.comb += [
            self.cd_sys.clk.eq(platform.request("sys_clk")),
            self.cd_sys.rst.eq(platform.request("sys_rst")),
        ]


def main():
    """Write the Verilog of the SoC and its register map."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("verilog", type=Path, help="folder that gatewright verilog wrote")
    parser.add_argument("-o", "--output", type=Path, default=Path("build"), help="folder to make")
    args = parser.parse_args()
    builder = Builder(
        SoC(args.verilog.resolve()), output_dir=str(args.output), compile_software=False,
        compile_gateware=False, csr_csv=str(args.output / "csr.csv"),
    )  # fmt: skip
    builder.build(run=False, build_name="soc")


if __name__ == "__main__":
    main()
