"""Platform inputs from a machine under emulation: ACPI blobs, boot variables, SMBIOS, as QEMU makes them for a shape.

    qemu          the machine of a shape as QEMU's arguments; pure
    guest         the program that runs in it and reads the inputs back; laid into the guest as it is
    transcript    what the guest said, parsed; pure
    loader_script the order in which the firmware reads the blobs; pure
    entry         one shape's inputs, checked against each other; pure
    table         all of them, by shape: image/notary/platform-inputs.json; pure
    kit           what `pluto-image tools` made to run all this with; pure
    machine       starts QEMU and the software TPM; the only IO

Nothing here needs TDX, KVM or privilege. Prediction imports `table` and `entry` alone.
"""
